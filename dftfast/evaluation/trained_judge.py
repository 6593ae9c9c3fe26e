"""A judge trained here: of an output and the human text of its prompt, which is the model's?

It is no judge of quality. It learns from other prompts what tells the two apart, and nothing else.
"""

from __future__ import annotations

import numpy as np

from dftfast.evaluation.discriminant import FOLDS, RIDGE, ROWS
from dftfast.evaluation.estimate import Estimate, Permutations, share_estimate, undefined
from dftfast.evaluation.two_samples import TwoSamples

FEWEST = 20  # prompts


class PairClassifier:
    """Which of two texts of one prompt is the model's, by the difference of their features.

    The direction is (D'D + λI)⁻¹ D'1 over differences D of features, output less human text, of
    the prompts of the other folds: a discriminant of pairs, through the origin, since a pair has
    no order. Exchanging a pair turns the sign of its row, so that D'D stays, and a thousand
    permutations are a few matrix products.

    Args:
        x, y: features of outputs and human texts, aligned, [n, d].
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, seed: int):
        pooled = np.concatenate([x, y]).astype(np.float64)
        spread = pooled.std(0)
        self.rows = ((x - y) / np.where(spread > 0, spread, 1)).astype(np.float32)
        fold = np.random.default_rng([seed, 7]).permutation(np.arange(len(x)) % FOLDS)
        self._folds = [(fold == k, self._inverse(self.rows[fold != k])) for k in range(FOLDS)]

    @staticmethod
    def _inverse(rows: np.ndarray) -> np.ndarray:
        gram = rows.astype(np.float64).T @ rows
        return np.linalg.inv(gram + RIDGE * np.eye(len(gram))).astype(np.float32)

    def right(self, signs: np.ndarray) -> np.ndarray:
        """Whether a classifier that has not seen its prompt is right about each pair.

        1, 0, or half where it is undecided.

        Args:
            signs: 1 for a pair as it is, -1 for one that is exchanged, [rounds, n].
        """
        out = np.empty(signs.shape)
        for held_out, inverse in self._folds:
            known = signs[:, ~held_out].astype(np.float32) @ self.rows[~held_out]
            score = known @ inverse @ self.rows[held_out].T * signs[:, held_out]
            out[:, held_out] = np.where(np.abs(score) > 1e-6, score > 0, 0.5)
        return out

    def null(self, signs: np.ndarray) -> np.ndarray:
        """Share of pairs it is right about, each permutation trained anew. float64 [rounds]"""
        parts = [signs[k : k + ROWS] for k in range(0, len(signs), ROWS)]
        return np.concatenate([self.right(part).mean(1) for part in parts])


def trained_judge(s: TwoSamples) -> Estimate:
    """Share of pairs about which a judge trained on the pairs of other prompts is right.

    Its features are the embeddings, and the style features in units of their spread among human
    texts. The rounds keep the classifiers. Other pairs would train others: the spread is widened by
    what permutations, which train anew, spread more than as many coins.
    """
    if not s.paired:
        return undefined("the outputs answer other prompts than the reference")
    problem = s.embedding_problem(s.x.embeddings, s.y.embeddings)
    if problem or len(s.x) < FEWEST:
        return undefined(problem or f"fewer than {FEWEST} prompts")
    assert s.x.embeddings is not None and s.y.embeddings is not None
    style = s.reference.style
    x = np.hstack([s.x.embeddings, style.standardised(s.x.texts)])
    model = PairClassifier(x, np.hstack([s.y.embeddings, style.human]), s.seed)
    correct = model.right(np.ones((1, len(x))))[0]
    value = float(correct.mean())
    test = Permutations(value, model.null(2 * s.exchanged[:, : len(x)] - 1))
    drawn = s.w @ correct / s.w.sum(1)
    wider = max(1.0, float(test.null.std()) * 2 * len(x) ** 0.5)
    return share_estimate(value, value + (drawn - drawn.mean()) * wider, test)
