"""Density ratio from a classifier that tells human texts from outputs by their embeddings."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .samples import Samples


class DensityRatio:
    """Cross-fitted, regularised logistic regression: a text is scored by a model that did not see it.

    With balanced classes the logit estimates ``log p(x) / q(x)``, the witness of the KL divergence KL(q‖p).
    """

    def __init__(self, folds: int = 2, strength: float = 1.0, seed: int = 0):
        self.folds, self.strength, self.seed = folds, strength, seed

    def fit(self, human: Samples) -> None:
        self.human = human.embeddings.numpy()

    def value(self, samples: Samples) -> float:
        """Mean of −logit over the samples: an estimate of KL(q‖p) in nats, about 0 when the two are alike."""
        return -float(self.witness(samples).mean())

    def witness(self, samples: Samples) -> Tensor:
        """fp32 [n]: cross-fitted logit of being human."""
        from sklearn.linear_model import LogisticRegression

        x = samples.embeddings.numpy()
        rng = np.random.default_rng(self.seed)
        fold, human_fold = rng.integers(self.folds, size=len(x)), rng.integers(self.folds, size=len(self.human))
        logits = np.zeros(len(x), dtype=np.float32)
        for k in range(self.folds):
            features = np.concatenate([x[fold != k], self.human[human_fold != k]])
            labels = np.repeat([0, 1], [np.sum(fold != k), np.sum(human_fold != k)])
            model = LogisticRegression(C=self.strength, class_weight="balanced", max_iter=1000).fit(features, labels)
            if (fold == k).any():
                logits[fold == k] = model.decision_function(x[fold == k])
        return torch.from_numpy(logits)
