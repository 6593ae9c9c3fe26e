"""A phase that learns texts by likelihood or another loss of theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dftfast.dft.context import PhaseContext
from dftfast.optimise.fit import LOSS_LIMIT, NO_HOOKS, FitSettings, LoopHooks, fit
from dftfast.optimise.packing import Example


def learn(
    context: PhaseContext, phase: int, examples: Sequence[Example], hooks: LoopHooks | None = None
) -> None:
    """Train a fresh adapter on the examples and leave it on the policy.

    Args:
        hooks: another loss or other weights than those of likelihood, which no limit of the loss
            then watches; the checkpoints are those of the phase.
    """
    settings, seed = context.settings, context.seed + phase
    parameters = context.policy.begin_phase(settings.rank, settings.rank, seed)
    fit_settings = FitSettings(
        context.learning_rate,
        batch_tokens=context.batch_tokens,
        micro_tokens=settings.micro_tokens,
        loss_limit=0 if hooks else LOSS_LIMIT,
    )
    steps = context.log.steps(f"baseline {phase}")
    hooks = replace(hooks or NO_HOOKS, checkpoints=context.checkpoints(f"phase-{phase}"))
    fit(context.policy.decoder, parameters, examples, fit_settings, seed, steps, hooks)
    context.policy.end_phase()
