"""TextGAIL: the reward is a discriminator of human texts against the policy's.

Wu et al. 2021, https://arxiv.org/abs/2004.13796. Theirs is a language model that is trained on;
here it is a classifier of embeddings and style, refitted on the candidates as the policy weighs
them by now. The update is that of DFT, so that the two differ by what they reward alone.
"""

from __future__ import annotations

import numpy as np

from dftfast.dft.context import PhaseContext, Rollouts
from dftfast.dft.natural import natural_phase
from dftfast.distribution.density_ratio import DensityRatio
from dftfast.distribution.samples import Samples


class Discriminator:
    """Rewards candidates by their logit of being human."""

    def __init__(self, human: Samples, rollouts: Rollouts, seed: int):
        self.samples, self.ratio = rollouts.samples, DensityRatio(seed=seed)
        self.ratio.fit(human)

    def credits(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        return {"human": self._logit(weights)}

    def _logit(self, weights: np.ndarray) -> np.ndarray:
        return self.ratio.witness(self.samples, weights).double().numpy()

    def values(self, weights: np.ndarray) -> dict[str, float]:
        return {"divergence": -float(np.average(self._logit(weights), weights=weights))}


def textgail(context: PhaseContext, phase: int) -> dict:
    """One phase towards what the discriminator takes for human."""
    critic = lambda context, prompts, rollouts, phase: Discriminator(
        context.human_texts, rollouts, context.seed + phase
    )
    return natural_phase(context, phase, critic)
