"""Best of K by likelihood: the policy learns the candidate that it finds most likely."""

from __future__ import annotations

from dftfast.dft.context import PhaseContext
from dftfast.optimise.packing import Example


def best_of_k(context: PhaseContext, phase: int) -> dict:
    """Learn, of each prompt's candidates, the one with the highest likelihood a token."""
    prompts = context.phase_prompts(phase)
    rollouts = context.candidates(phase, prompts)
    best: dict[int, int] = {}
    mean = [sum(logprobs) / len(logprobs) for logprobs in rollouts.logprobs]
    for i, prompt in enumerate(rollouts.prompt):
        if prompt not in best or mean[i] > mean[best[prompt]]:
            best[prompt] = i
    examples = [Example(prompts[p].prompt, rollouts.samples.tokens_of(i)) for p, i in best.items()]
    context.learn(phase, examples)
    return {"candidates": len(mean), "cut_or_empty": rollouts.left_out}
