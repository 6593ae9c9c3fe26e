"""What the log says of a judge that was asked."""

from __future__ import annotations

import logging

from dftfast.evaluation.judge.compare import Judge

log = logging.getLogger(__name__)


def log_what_it_took(judge: Judge) -> None:
    """What it took, and what is missing."""
    if (tally := judge.tally) is not None:
        cost = (
            f", ${tally.spent:.2f} now, ${tally.cost:.2f} in all"
            if tally.cost or tally.spent
            else ""
        )
        log.info(
            "judge %s: %d requests, %d answers from before, %d retries, %d malformed answers, %d "
            "tokens in and %d out%s",
            judge.name,
            tally.asked,
            tally.kept,
            tally.retries,
            judge.malformed,
            tally.prompt_tokens,
            tally.completion_tokens,
            cost,
        )
    if judge.unanswered:
        why = (
            "the cap on spend was reached"
            if tally is not None and tally.capped
            else "no usable answer"
            if tally is not None
            else "longer than the model's context"
        )
        log.warning(
            "judge %s: %d questions without a verdict: %s; the figures are of the others",
            judge.name,
            judge.unanswered,
            why,
        )
