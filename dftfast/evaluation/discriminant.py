"""Classifier two-sample test: how often a classifier tells outputs from human texts."""

from __future__ import annotations

import numpy as np

FOLDS = 5
RIDGE = 400.0  # as strong as logistic regression on standardised features with C = 0.01
ROWS = 128  # permutations at a time: bounds the memory


class Classifier:
    """A linear discriminant, cross-fitted, under the labels as they are and under others.

    The direction is (Z'Z + λI)⁻¹ (mean of one class - mean of the other) over standardised rows Z,
    the threshold half way between the means: classes of unequal size count alike, and the labels
    enter by sums alone, so that a thousand permutations are a few matrix products. Friedman,
    Regularized Discriminant Analysis, JASA 1989; Lopez-Paz and Oquab, Revisiting Classifier
    Two-Sample Tests, ICLR 2017.

    Args:
        rows: embeddings [x; y], [n + m, d].
        n: how many are of x.
        paired: x_i and y_i answer one prompt, and are then always in one fold: a classifier that
            has seen the human text of a prompt would take the model's for human as well.
    """

    def __init__(self, rows: np.ndarray, n: int, paired: bool, seed: int):
        rows = np.asarray(rows, np.float64)
        spread = rows.std(0)
        self.rows = ((rows - rows.mean(0)) / np.where(spread > 0, spread, 1)).astype(np.float32)
        rng = np.random.default_rng([seed, 2])
        deal = lambda count: rng.permutation(np.arange(count) % FOLDS)
        first = deal(n)
        fold = np.r_[first, first if paired else deal(len(rows) - n)]
        self._folds = [(fold == k, self._inverse(self.rows[fold != k])) for k in range(FOLDS)]

    @staticmethod
    def _inverse(rows: np.ndarray) -> np.ndarray:
        centred = rows - rows.mean(0)
        inverse = np.linalg.inv(centred.T @ centred + RIDGE * np.eye(rows.shape[1]))
        return inverse.astype(np.float32)

    def scores(self, labels: np.ndarray) -> np.ndarray:
        """How much like x a classifier that has not seen it finds each row; 0 is undecided.

        labels: 1 for x and 0 for y, [rounds, n + m]. float32 [rounds, n + m]
        """
        out = np.empty(labels.shape, np.float32)
        for held_out, inverse in self._folds:
            known, labelled = self.rows[~held_out], labels[:, ~held_out].astype(np.float32)
            count = labelled.sum(1, keepdims=True)
            of_x = labelled @ known
            of_y = (known.sum(0) - of_x) / np.maximum(len(known) - count, 1)
            of_x = of_x / np.maximum(count, 1)
            direction = (of_x - of_y) @ inverse
            threshold = (direction * (of_x + of_y) / 2).sum(1, keepdims=True)
            out[:, held_out] = direction @ self.rows[held_out].T - threshold
        return out

    def null(self, labels: np.ndarray) -> np.ndarray:
        """Balanced accuracy under each row of labels. float64 [rounds]"""
        parts = [labels[k : k + ROWS] for k in range(0, len(labels), ROWS)]
        return np.concatenate([balanced(right(self.scores(p), p), p) for p in parts])


def right(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """1 where the side is right, 0 where it is wrong, half where it is undecided."""
    sure = np.abs(scores) > 1e-6
    return np.where(sure, (scores > 0) == (labels > 0), 0.5)


def balanced(correct: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean of the shares of both classes that are right, along the last axis."""
    of_x = (correct * labels).sum(-1) / labels.sum(-1)
    return (of_x + (correct * (1 - labels)).sum(-1) / (1 - labels).sum(-1)) / 2
