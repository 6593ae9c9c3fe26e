"""TextGAIL: the reward is a discriminator of human texts against the policy's.

It is trained by PPO with human texts in each batch (Wu et al. 2021,
https://arxiv.org/abs/2004.13796). The discriminator is refitted each round on embeddings and style.
"""

from __future__ import annotations

from dftfast.dft.context import PhaseContext
from dftfast.dft.policy_gradient import PolicyGradient

DEMONSTRATIONS = 0.3  # human texts for each sample


def textgail(context: PhaseContext, phase: int) -> dict:
    """Train by policy gradient on the discriminator alone, with demonstrations."""
    return PolicyGradient(context, phase, {"classifier": 1.0}, DEMONSTRATIONS).run()
