"""Energy-based fine-tuning: match the features of the human text of the same prompt.

Jelassi et al. 2026, "Matching Features, Not Tokens", https://arxiv.org/abs/2603.12248. The reward
of a sample is its likeness to the human text of its prompt less that to its siblings. Theirs are
short continuations of human prefixes, in hidden states of the model; here they are whole texts, in
the embedding that DFT follows, and the update is that of DFT, so that the two differ by what they
reward alone.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dftfast.baselines.own_human import own_human
from dftfast.dft.context import PhaseContext, Rollouts
from dftfast.dft.natural import natural_phase


class FeatureMatching:
    """`2 φ(x)·φ(y) − 2 mean_{x' ≠ x} φ(x)·φ(x')`, y the human text, x' the siblings, weighted.

    Features φ are whitened by those of the human texts.
    """

    def __init__(self, human: Tensor, rollouts: Rollouts):
        human = human.cpu().double()
        mean, basis = human.mean(0), torch.linalg.svd(human - human.mean(0), full_matrices=False)
        kept = basis.S > 1e-3 * basis.S[0]
        whiten = basis.Vh[kept].T / basis.S[kept] * len(human) ** 0.5
        x = (rollouts.samples.embeddings.cpu().double() - mean) @ whiten
        y = (human - mean) @ whiten
        self.prompt = np.asarray(rollouts.prompt)
        self.towards = (x * y[self.prompt]).sum(1).numpy()
        self.among = (x @ x.T).numpy()
        self.among[self.prompt[:, None] != self.prompt[None, :]] = 0
        np.fill_diagonal(self.among, 0)

    def credits(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        siblings = np.bincount(self.prompt, weights)[self.prompt] - weights
        matching = self.towards - self.among @ weights / np.maximum(siblings, 1e-12)
        return {"matching": 2 * matching}

    def values(self, weights: np.ndarray) -> dict[str, float]:
        return {"likeness": float(np.average(self.towards, weights=weights))}


def ebft(context: PhaseContext, phase: int) -> dict:
    """One phase of feature matching."""
    human = own_human(context, context.phase_prompts(phase)).embeddings
    critic = lambda context, prompts, rollouts, phase: FeatureMatching(human, rollouts)
    return natural_phase(context, phase, critic)
