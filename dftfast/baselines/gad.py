"""Generative adversarial distillation: the reward is a Bradley-Terry discriminator.

Ye et al. 2025, https://arxiv.org/abs/2511.10643: a score that is higher for the human text of a
prompt than for the policy's, trained beside the policy, rewards the policy's texts. Theirs is a
language model; here it is linear in embeddings and style, trained on the other half of the prompts,
and the update is that of DFT, so that the two differ by what they reward alone.
"""

from __future__ import annotations

import numpy as np
import torch

from dftfast.baselines.own_human import own_human
from dftfast.dft.context import PhaseContext, Rollouts
from dftfast.dft.natural import natural_phase
from dftfast.distribution.samples import Samples

RIDGE = 0.1  # penalty a pair


class BradleyTerry:
    """Scores of the candidates, refitted on the candidates as they weigh."""

    def __init__(self, human: Samples, rollouts: Rollouts, seed: int):
        people, own = _features(human), _features(rollouts.samples)
        mean, spread = people.mean(0), np.maximum(people.std(0), 1e-3)
        self.own = np.clip((own - mean) / spread, -5, 5)
        self.prompt = np.asarray(rollouts.prompt)
        self.gap = np.clip((people - mean) / spread, -5, 5)[self.prompt] - self.own
        half = np.random.default_rng(seed).permutation(len(people)) % 2
        self.fold = half[self.prompt]

    def credits(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        return {"score": self._scores(weights)}

    def _scores(self, weights: np.ndarray) -> np.ndarray:
        from sklearn.linear_model import LogisticRegression

        scores = np.zeros(len(self.own))
        for k in (0, 1):
            train, rest = self.fold != k, self.fold == k
            pairs = np.concatenate([self.gap[train], -self.gap[train]])
            first = np.repeat([True, False], int(train.sum()))
            model = LogisticRegression(
                C=1 / (RIDGE * len(pairs)), fit_intercept=False, max_iter=300
            )
            model.fit(pairs, first, sample_weight=np.tile(weights[train], 2))
            scores[rest] = self.own[rest] @ model.coef_[0]
        return scores

    def values(self, weights: np.ndarray) -> dict[str, float]:
        return {"score": float(np.average(self._scores(weights), weights=weights))}


def gad(context: PhaseContext, phase: int) -> dict:
    """One phase towards what the discriminator scores high."""
    human, seed = own_human(context, context.phase_prompts(phase)), context.seed + phase
    critic = lambda context, prompts, rollouts, phase: BradleyTerry(human, rollouts, seed)
    return natural_phase(context, phase, critic)


def _features(samples: Samples) -> np.ndarray:
    return torch.cat([samples.embeddings, samples.style], dim=1).cpu().numpy()
