"""TextGAIL: the reward is a discriminator of human texts against the policy's.

Wu et al. 2021, https://arxiv.org/abs/2004.13796. Theirs is a language model that is trained on;
here it is a classifier of embeddings and style, refitted on the candidates as the policy weighs
them by now. The update is that of DFT, so that the two differ by what they reward alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dftfast.dft.context import PhaseContext, Rollouts
from dftfast.dft.regression import regression_phase
from dftfast.distribution.classifier import DensityRatio
from dftfast.optimise.packing import Example


class Discriminator:
    """Rewards candidates by their logit of being human."""

    def __init__(self, context: PhaseContext, rollouts: Rollouts, seed: int):
        self.samples, self.seed, self.ratio = rollouts.samples, seed, DensityRatio(seed=seed)
        self.ratio.fit(context.human)

    def reward(self, weights: np.ndarray) -> np.ndarray:
        return self.ratio.witness(self.samples, weights).double().numpy()

    def values(self, weights: np.ndarray) -> dict[str, float]:
        return {"divergence": -float(np.average(self.reward(weights), weights=weights))}


def textgail(context: PhaseContext, phase: int) -> dict:
    """One phase towards what the discriminator takes for human."""

    def critic(
        context: PhaseContext, prompts: Sequence[Example], rollouts: Rollouts, phase: int
    ) -> Discriminator:
        return Discriminator(context, rollouts, context.seed + phase)

    return regression_phase(context, phase, critic)
