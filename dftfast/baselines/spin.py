"""SPIN: a DPO loss prefers the human text to the sample of the policy, the reference.

Chen et al. 2024, "Self-play fine-tuning converts weak language models to strong language models",
https://arxiv.org/abs/2401.01335, equation 4.7 with the logistic loss.
"""

from __future__ import annotations

import math

from dftfast.dft.context import PhaseContext
from dftfast.optimise.fit import LoopHooks
from dftfast.optimise.likelihood import own_token_logprobs, token_logprobs
from dftfast.optimise.packing import Example

BETA = 0.1


def spin(context: PhaseContext, phase: int) -> dict:
    """One iteration of self-play.

    The loss of a pair is `log(1 + exp(−β (Δ human − Δ sample)))`, Δ = log π / π_start. Its gradient
    is that of a likelihood in which the human text weighs `β σ(−β (Δ human − Δ sample))` and the
    sample the negative of it, so the pair's margin is computed first and the common loss does the
    rest.
    """
    prompts, decoder = context.phase_prompts(phase), context.policy.decoder
    rollouts = context.sample(prompts, [1.0], context.seed + phase, f"spin {phase}: samples")
    human = [prompts[p] for p in rollouts.prompt]
    own = [Example(e.prompt, rollouts.samples.tokens_of(i)) for i, e in enumerate(human)]
    start = [
        sum(part) for part in token_logprobs(decoder, human + own, context.settings.micro_tokens)
    ]
    at_start = {id(example): value for example, value in zip(human + own, start)}
    other = {id(a): b for a, b in [*zip(human, own), *zip(own, human)]}
    is_human = {id(example) for example in human}

    def reweigh(batch: list[Example]) -> list[Example]:
        """Both texts of every pair whose human text is in the batch."""
        pairs = [
            text
            for example in batch
            if id(example) in is_human
            for text in (example, other[id(example)])
        ]
        now = [
            sum(part) for part in own_token_logprobs(decoder, pairs, context.settings.micro_tokens)
        ]
        gained = [value - at_start[id(example)] for value, example in zip(now, pairs)]
        weighted = []
        for i in range(0, len(pairs), 2):
            weight = BETA / (1 + math.exp(min(BETA * (gained[i] - gained[i + 1]), 50)))
            weighted += [
                Example(e.prompt, e.completion, w)
                for e, w in zip(pairs[i : i + 2], (weight, -weight))
            ]
        return weighted

    context.learn(phase, human, LoopHooks(reweigh=reweigh))
    return {"cut_or_empty": rollouts.left_out}
