"""More of supervised fine-tuning: on as many human texts as a phase of DFT samples.

Plain, and with texts weighted by the MMD witness: those weigh more that the policy writes too few
of the kind of.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dftfast.baselines.learn import learn
from dftfast.baselines.own_human import own_human
from dftfast.dft.context import PhaseContext
from dftfast.distribution.mmd import MMD
from dftfast.kernels import rbf_witness
from dftfast.optimise.packing import Example


def sft_more(context: PhaseContext, phase: int) -> dict:
    """Learn the next human texts."""
    learn(context, phase, next_texts(context, phase))
    return {}


def sft_witness(context: PhaseContext, phase: int) -> dict:
    """Learn the next human texts, each e-fold by a standard deviation of its witness.

    The witness is `mean_y k(h, y) − mean_x k(h, x)`, y human texts, x samples of the policy for the
    phase's prompts.
    """
    texts, rollouts = (
        next_texts(context, phase),
        context.candidates(phase, context.phase_prompts(phase)),
    )
    mmd = MMD()
    mmd.fit(context.human_texts)
    human = own_human(context, texts).embeddings
    away = rbf_witness(human, rollouts.samples.embeddings, mmd.bandwidths).mean(1)
    witness = (mmd.towards(human) - away).cpu().double().numpy()
    weights = np.exp((witness - witness.mean()) / max(witness.std(), 1e-30))
    weighted = [
        replace(text, weight=float(weight)) for text, weight in zip(texts, weights / weights.mean())
    ]
    learn(context, phase, weighted)
    return {"cut_or_empty": rollouts.left_out}


def next_texts(context: PhaseContext, phase: int) -> list[Example]:
    """As many human texts as the phase has candidates, around and around."""
    count = min(context.settings.prompts * context.settings.candidates, len(context.examples))
    start = (phase - 1) * count
    return [context.examples[i % len(context.examples)] for i in range(start, start + count)]
