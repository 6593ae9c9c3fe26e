"""Win rates with intervals: of each question over all judges, and of each judge alone."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from dftfast.evaluation.estimate import Estimate, resampling_weights, undefined, wilson
from dftfast.evaluation.judge.compare import Judged
from dftfast.evaluation.judge.questions import QUESTIONS
from dftfast.evaluation.two_samples import weighted_mean


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


def judge_record(judged: Judged, rounds: int, seed: int) -> dict:
    """What results.json and the report say of one judge: JSON values only."""
    judge = judged.judge
    systems = {
        name: {
            "verdicts": {q: int(np.isfinite(w).sum()) for q, w in wins.items()},
            "figures": {q: win_estimate(w, rounds, seed).to_json() for q, w in wins.items()},
        }
        for name, wins in judged.wins.items()
    }
    return {
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


def _mean_over_judges(wins: list[np.ndarray]) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a prompt without a verdict stays NaN
        return np.nanmean(wins, axis=0)
