"""A density ratio from a classifier that tells human texts from outputs by embeddings and style."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from dftfast.distribution.samples import Samples

RUN = 64  # neighbours that share a fold
MOST = 50_000  # texts of a kind that one classifier is trained on


class DensityRatio:
    """Cross-fitted logistic regression on standardised features.

    A text is scored by a model that did not see it. With balanced classes the logit estimates `log
    p(x) / q(x)`, the witness of the divergence KL(q‖p) up to its additive constant (Sugiyama et al.
    2012, "Density Ratio Estimation in Machine Learning", section 4.2). The reference may be far
    larger than the samples. Runs of 64 neighbours share a fold, so that the candidates of one
    prompt, which lie side by side, are not scored by a model that knows their siblings.

    Args:
        ridges: penalties per text that are tried; the one with the smallest cross-fitted loss is
            used.
    """

    def __init__(self, folds: int = 2, ridges: tuple[float, ...] = (0.01, 0.1, 1.0), seed: int = 0):
        self.folds, self.ridges, self.seed = folds, ridges, seed

    def fit(self, human: Samples) -> None:
        features = self._features(human)
        self.mean, self.spread = features.mean(0), np.maximum(features.std(0), 1e-3)
        self.human = self._standardised(human)

    def value(self, samples: Samples) -> float:
        """Mean of −logit over the samples, an estimate of KL(q‖p) in nats: about 0 when alike."""
        return -float(self.witness(samples).mean())

    def witness(self, samples: Samples, weights: np.ndarray | None = None) -> Tensor:
        """fp32 [n]: cross-fitted logit of being human.

        Args:
            weights: float64 [n], how often each sample counts, relative to the others.
        """
        counts = np.ones(len(samples)) if weights is None else weights / weights.mean()
        weight = np.concatenate([counts, np.ones(len(self.human))])
        rows = np.concatenate([self._standardised(samples), self.human])
        is_human = np.repeat([False, True], [len(samples), len(self.human)])
        rng = np.random.default_rng(self.seed)
        fold = np.concatenate([self._fold(len(samples), rng), self._fold(len(self.human), rng)])
        fitted = partial(self._cross_fitted, rows, is_human, weight, fold)
        attempts = [fitted(ridge) for ridge in self.ridges]
        best = min(attempts, key=lambda logits: _balanced_loss(logits, is_human, weight))
        return torch.from_numpy(best[: len(samples)])

    def _features(self, samples: Samples) -> np.ndarray:
        return torch.cat([samples.embeddings, samples.style], dim=1).cpu().numpy()

    def _standardised(self, samples: Samples) -> np.ndarray:
        return np.clip((self._features(samples) - self.mean) / self.spread, -5, 5).astype(
            np.float32
        )

    def _fold(self, count: int, rng: np.random.Generator) -> np.ndarray:
        run = min(RUN, max(count // (2 * self.folds), 1))
        return (np.arange(count) // run + rng.integers(self.folds)) % self.folds

    def _cross_fitted(
        self,
        rows: np.ndarray,
        is_human: np.ndarray,
        weight: np.ndarray,
        fold: np.ndarray,
        ridge: float,
    ) -> np.ndarray:
        from sklearn.linear_model import LogisticRegression

        logits = np.zeros(len(is_human), dtype=np.float32)
        for k in range(self.folds):
            rng = np.random.default_rng(self.seed)
            others = [(fold != k) & (is_human == kind) for kind in (False, True)]
            train = np.concatenate([_some(np.flatnonzero(kind), rng) for kind in others])
            model = LogisticRegression(
                C=1 / (ridge * len(train)), class_weight="balanced", max_iter=300
            )
            model.fit(rows[train], is_human[train], sample_weight=weight[train])
            if (fold == k).any():
                logits[fold == k] = model.decision_function(rows[fold == k])
        return logits


def _some(index: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return index if len(index) <= MOST else rng.choice(index, MOST, replace=False)


def _balanced_loss(logits: np.ndarray, is_human: np.ndarray, weight: np.ndarray) -> float:
    losses = np.logaddexp(0, np.where(is_human, -logits, logits))
    kinds = (is_human, ~is_human)
    return sum(float(np.average(losses[kind], weights=weight[kind])) for kind in kinds)
