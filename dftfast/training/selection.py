"""One phase of DFT by population selection: sample, choose, learn the chosen.

Of K candidates for each prompt one is chosen, so that the chosen population is distributed like human text; a
fresh LoRA then learns it by likelihood. Human completions of some prompts may be mixed in as an anchor.
"""

from __future__ import annotations

import logging

from ..distribution.selection import make_terms, select_population
from .dft import Task
from .distributed import on_first
from .packing import Example

log = logging.getLogger(__name__)


def selection_phase(task: Task, phase: int) -> dict:
    """Train one adapter and leave it live on the policy. Returns what was chosen from and the course of the choice."""
    c = task.settings
    prompts = task.phase_prompts(phase)
    rollouts = task.candidates(phase, prompts)
    candidates = rollouts.samples

    def choose() -> tuple[list[int], list[dict]]:
        terms = make_terms(candidates, task.human, task.policy.decoder.config.vocab_size, c.weights.model_dump())
        return select_population(rollouts.prompt, terms, task.seed + phase, c.overshoot)

    chosen, course = on_first(choose)
    _log_choice(phase, course[0], course[-1])
    examples = [Example(prompts[rollouts.prompt[i]].prompt, candidates.tokens_of(i)) for i in chosen]
    task.learn(phase, examples + prompts[: round(c.human_share * len(examples))])
    return {"candidates": len(candidates), "cut_or_empty": rollouts.left_out, "selection": course}


def _log_choice(phase: int, at_random: dict, chosen: dict) -> None:
    """What the choice did to each discrepancy, and by which weight each entered."""
    for name in at_random:
        if f"weight_{name}" in at_random:
            weight = at_random[f"weight_{name}"]
            values = f"{at_random[name]:.5f} at random, {chosen[name]:.5f} chosen"
            log.info("dft phase %d: %s of the population %s (weight %.4g)", phase, name, values, weight)
