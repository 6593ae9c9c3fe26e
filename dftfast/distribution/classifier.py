"""Density ratios from classifiers that tell human texts from outputs: by embeddings and style, or by their tokens."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from .samples import Samples

RUN = 64  # neighbours that share a fold
MOST = 50_000  # texts of a kind that one classifier is trained on


class DensityRatio:
    """Cross-fitted logistic regression on standardised features: a text is scored by a model that did not see it.

    With balanced classes the logit estimates ``log p(x) / q(x)``, the witness of the divergence KL(q‖p) up to its
    additive constant (Sugiyama et al. 2012, "Density Ratio Estimation in Machine Learning", section 4.2). The
    human bank may be far larger than the samples. Runs of 64 neighbours share a fold, so that the
    candidates of one prompt, which lie side by side, are not scored by a model that knows their siblings.

    Args:
        ridges: penalties per text that are tried; the one with the smallest cross-fitted loss is used.
    """

    def __init__(self, folds: int = 2, ridges: tuple[float, ...] = (0.01, 0.1, 1.0), seed: int = 0):
        self.folds, self.ridges, self.seed = folds, ridges, seed

    def fit(self, human: Samples) -> None:
        features = self._features(human)
        self.mean, self.spread = features.mean(0), np.maximum(features.std(0), 1e-3)
        self.human = self._standardised(human)

    def value(self, samples: Samples) -> float:
        """Mean of −logit over the samples: an estimate of KL(q‖p) in nats, about 0 when the two are alike."""
        return -float(self.witness(samples).mean())

    def witness(self, samples: Samples) -> Tensor:
        """fp32 [n]: cross-fitted logit of being human."""
        rows = self._rows(samples)
        is_human = np.repeat([False, True], [len(samples), len(self.human)])
        rng = np.random.default_rng(self.seed)
        fold = np.concatenate([self._fold(len(samples), rng), self._fold(len(self.human), rng)])
        attempts = [self._cross_fitted(rows, is_human, fold, ridge) for ridge in self.ridges]
        best = min(attempts, key=lambda logits: _balanced_loss(logits, is_human))
        return torch.from_numpy(best[: len(samples)])

    def _rows(self, samples: Samples) -> np.ndarray:
        """Features of the samples, then of the human texts."""
        return np.concatenate([self._standardised(samples), self.human])

    def _features(self, samples: Samples) -> np.ndarray:
        return torch.cat([samples.embeddings, samples.style], dim=1).cpu().numpy()

    def _standardised(self, samples: Samples) -> np.ndarray:
        return np.clip((self._features(samples) - self.mean) / self.spread, -5, 5).astype(np.float32)

    def _fold(self, count: int, rng: np.random.Generator) -> np.ndarray:
        run = min(RUN, max(count // (2 * self.folds), 1))
        return (np.arange(count) // run + rng.integers(self.folds)) % self.folds

    def _cross_fitted(self, rows: np.ndarray | sparse.csr_matrix, is_human: np.ndarray, fold: np.ndarray, ridge: float) -> np.ndarray:
        from sklearn.linear_model import LogisticRegression

        logits = np.zeros(len(is_human), dtype=np.float32)
        for k in range(self.folds):
            rng = np.random.default_rng(self.seed)
            train = np.concatenate([_some(np.flatnonzero((fold != k) & (is_human == kind)), rng) for kind in (False, True)])
            model = LogisticRegression(C=1 / (ridge * len(train)), class_weight="balanced", max_iter=300)
            model.fit(rows[train], is_human[train])
            if (fold == k).any():
                logits[fold == k] = model.decision_function(rows[fold == k])
        return logits


class LexicalRatio(DensityRatio):
    """The same over the tokens that a text uses: log(1 + count) of each, scaled to unit length.

    Where n-gram L2 is ruled by the frequent tokens, this weighs a token by how much its presence tells, the rare ones
    included; a text is scored by all of its tokens together.
    """

    def __init__(self, folds: int = 2, ridges: tuple[float, ...] = (1e-5, 1e-4, 1e-3), seed: int = 0):
        super().__init__(folds, ridges, seed)

    def fit(self, human: Samples) -> None:
        self.human = human

    def _rows(self, samples: Samples) -> sparse.csr_matrix:
        from sklearn.preprocessing import normalize

        tokens = torch.cat([samples.tokens, self.human.tokens]).numpy()
        lengths = torch.cat([samples.lengths, self.human.lengths]).numpy()
        offsets = np.concatenate([[0], lengths.cumsum()])
        counts = sparse.csr_matrix((np.ones(len(tokens), dtype=np.float32), tokens, offsets))
        counts.sum_duplicates()
        return normalize(counts.log1p())


def _some(index: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return index if len(index) <= MOST else rng.choice(index, MOST, replace=False)


def _balanced_loss(logits: np.ndarray, is_human: np.ndarray) -> float:
    losses = np.logaddexp(0, np.where(is_human, -logits, logits))
    return losses[is_human].mean() + losses[~is_human].mean()
