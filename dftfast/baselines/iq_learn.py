"""IQ-Learn for language: inverse soft-Q learning on the human texts, with the logits as Q.

Garg et al. 2021, https://arxiv.org/abs/2106.12142, in the offline form of Wulfmeier et al. 2024,
"Imitating language via scalable inverse reinforcement learning", https://arxiv.org/abs/2409.01369:
the likelihood of the data plus a penalty on the reward that the logits imply, `r = Q(s, a) −
V(s')`, which couples each token to what follows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dftfast.baselines.learn import learn
from dftfast.dft.context import PhaseContext
from dftfast.kernels import linear_logprob
from dftfast.model.decoder import Decoder
from dftfast.optimise.fit import LoopHooks
from dftfast.optimise.likelihood import completion_states
from dftfast.optimise.packing import PackedBatch

PENALTY = 0.01  # 1 / 4α of the χ² regulariser


def iq_learn(context: PhaseContext, phase: int) -> dict:
    """Learn the human texts of the phase by inverse soft-Q learning."""
    learn(context, phase, context.phase_prompts(phase), LoopHooks(loss=inverse_soft_q))
    return {}


def inverse_soft_q(decoder: Decoder, batch: PackedBatch, scale: float) -> Tensor:
    """`scale · Σ [−log π(a|s) + PENALTY · (Q(s, a) − V(s'))²]`, with V = log Σ exp Q.

    V is zero after the end of a text.
    """
    hidden = completion_states(decoder, batch)
    logprob, _ = linear_logprob(hidden, decoder.head_weight, batch.targets)
    q = (hidden.float() * decoder.head_weight[batch.targets].float()).sum(1)
    v = q - logprob
    follows = torch.zeros_like(v)
    follows[:-1] = torch.where(batch.documents.diff() == 0, v[1:], 0.0)
    return scale * (batch.weights * (-logprob + PENALTY * (q - follows).square())).sum()
