"""Win rates with intervals: of each question over all judges, and of each judge alone."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from dftfast.evaluation.estimate import (
    Estimate,
    estimate,
    resampling_weights,
    undefined,
    wilson,
)
from dftfast.evaluation.judge.compare import OTHER_PROMPT, Judged
from dftfast.evaluation.judge.length_control import at_equal_length, longer_wins
from dftfast.evaluation.judge.questions import QUESTIONS
from dftfast.evaluation.two_samples import weighted_mean

EQUAL = "jmq_equal_length"


def judge_estimates(
    judged: Sequence[Judged], system: str, rounds: int, seed: int
) -> dict[str, Estimate]:
    """JMQ and the questions of quality of one system.

    Each is twice the mean of the wins, over judges prompt by prompt.

    The bootstrap rounds are those of `two_samples.TwoSamples` on the same prompts.
    """
    estimates = {}
    for question in QUESTIONS:
        wins = [j.wins[system][question] for j in judged if question in j.wins.get(system, {})]
        if wins:
            estimates[question] = win_estimate(_mean_over_judges(wins), rounds, seed)
        if wins and question == "jmq":
            ratio = judged[0].ratios[system]
            estimates[EQUAL] = equal_length_estimate(_mean_over_judges(wins), ratio, rounds, seed)
    return estimates


def win_estimate(wins: np.ndarray, rounds: int, seed: int) -> Estimate:
    """Twice the win rate of wins [n] (NaN: no verdict).

    The interval is Wilson's, which also holds where one side wins everything and a bootstrap would
    have no spread.
    """
    known = wins[np.isfinite(wins)]
    if len(known) < 4:
        return undefined(f"{len(known)} verdicts")
    low, high = wilson(known)
    value = 2 * float(known.mean())
    drawn = 2 * weighted_mean(wins, resampling_weights(len(wins), rounds, seed))
    return Estimate(value, 2 * low, 2 * high, human=1.0, rounds=value + drawn - drawn.mean())


def equal_length_estimate(wins: np.ndarray, ratio: np.ndarray, rounds: int, seed: int) -> Estimate:
    """Twice the win rate where output and human text are as long (`length_control`)."""
    if np.isfinite(wins).sum() < 20:
        return undefined("fewer than 20 verdicts")
    value = 2 * float(at_equal_length(wins, ratio, np.ones((1, len(wins))))[0])
    weights = resampling_weights(len(wins), rounds, seed)
    drawn = 2 * at_equal_length(wins, ratio, weights)
    return estimate(value, drawn, human=(1.0, None, None))


def judge_record(judged: Judged, rounds: int, seed: int) -> dict:
    """What results.json and the report say of one judge: JSON values only."""
    judge = judged.judge
    systems = {
        name: {
            "verdicts": {q: int(np.isfinite(w).sum()) for q, w in wins.items()},
            "figures": _figures(judged, name, rounds, seed),
        }
        for name, wins in judged.wins.items()
    }
    longer, unequal = np.sum(
        [longer_wins(w["jmq"], judged.ratios[n]) for n, w in judged.wins.items() if "jmq" in w]
        or [(0, 0)],
        axis=0,
    )
    return {
        "other_prompts": systems.pop(OTHER_PROMPT, None),
        "longer": float(longer / unequal) if unequal else None,
        "name": judge.name,
        "model": judge.model,
        "where": judge.where,
        "both_orders": judged.both_orders,
        "first": judged.first,
        "agreement": judged.agreement,
        "malformed": judge.malformed,
        "unanswered": judge.unanswered,
        "calls": asdict(judge.tally) if judge.tally else None,
        "systems": systems,
    }


def _figures(judged: Judged, system: str, rounds: int, seed: int) -> dict[str, dict]:
    alone = judge_estimates([judged], system, rounds, seed)
    return {question: figure.to_json() for question, figure in alone.items()}


def _mean_over_judges(wins: list[np.ndarray]) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a prompt without a verdict stays NaN
        return np.nanmean(wins, axis=0)
