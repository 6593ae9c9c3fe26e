"""Several answers to every prompt: each figure is the mean over the draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dftfast.distribution.mmd import signed_root
from dftfast.evaluation.estimate import Estimate, Permutations, interval, undefined, wilson
from dftfast.evaluation.textset import TextSet, align
from dftfast.runtime.errors import UserError

ROOTS = ("mmd", "mmd_unseen", "mmd_characters", "style_mmd")  # signed roots of what is unbiased


def in_one_order(draws: Sequence[TextSet]) -> list[TextSet]:
    """The draws of one system, each in the order of the first one's ids.

    Raises:
        UserError: there is none, or a prompt has an answer in one draw and not in another.
    """
    if not draws:
        raise UserError("a system without a draw cannot be evaluated")
    return [draws[0], *(align(draw, draws[0]) for draw in draws[1:])]


def mean_over_draws(draws: Sequence[Mapping[str, Estimate]]) -> dict[str, Estimate]:
    """Every metric of a system, the mean over its draws, each with the same prompts and seed.

    A draw is a set of its own, with one text a prompt: two answers to one prompt are never
    compared with each other. The rounds resample prompts alike in every draw, so that their mean
    is the bootstrap of the mean; it does not draw the answers again, and `Estimate.draws` says how
    far these move the figure.
    """
    if len(draws) == 1:
        return dict(draws[0])
    return {metric: _mean(metric, [draw[metric] for draw in draws]) for metric in draws[0]}


def draws_text(results: Mapping[str, Mapping[str, Estimate]]) -> str:
    """How many answers to a prompt the figures are means over, a sentence; empty for one each."""
    counts = {
        max((len(f.draws) for f in figures.values() if f.draws), default=1)
        for figures in results.values()
    }
    if counts <= {1}:
        return ""
    number = f"{min(counts)}" if len(counts) == 1 else f"up to {max(counts)}"
    return (
        f"Figures are means over {number} answers to each prompt; ± is half of how far the draws "
        "lie apart."
    )


def _mean(metric: str, draws: list[Estimate]) -> Estimate:
    """The mean of one metric.

    Of an MMD it is the signed root of the mean square, so that it stays the root of the MMD²
    beside it. A metric that a draw does not have is undefined.
    """
    values = [each.value for each in draws if each.value is not None]
    if len(values) < len(draws):
        return undefined(next(each.reason for each in draws if each.value is None) or "undefined")
    average = _mean_square if metric in ROOTS else lambda parts: np.mean(parts, axis=0)
    rounds = _together([each.rounds for each in draws], average)
    texts = _together([each.texts for each in draws], _mean_of_known)
    low, high = _limits(metric, draws, rounds, texts)
    test, first = _test([each.test for each in draws]), draws[0]
    human, human_low, human_high = first.human, first.human_low, first.human_high
    if test is not None:
        level = np.array(test.human)
        human, human_low, human_high = (signed_root(level) if metric in ROOTS else level).tolist()
    return Estimate(
        float(average(np.array(values))),
        low,
        high,
        test.p if test else None,
        human,
        human_low,
        human_high,
        draws=values,
        rounds=rounds,
        test=test,
        texts=texts,
    )


def _limits(
    metric: str, draws: list[Estimate], rounds: np.ndarray | None, texts: np.ndarray | None
) -> tuple[float | None, float | None]:
    """The 95% interval of the mean.

    Of a root it is that of the square, of a share Wilson's for each prompt's mean over the draws.
    Of a metric whose rounds are not drawn by prompt it is the mean of the draws' limits, which is
    wider than it need be.
    """
    if texts is not None:
        return wilson(texts[np.isfinite(texts)])
    if rounds is not None and metric in ROOTS:
        low, high = interval(rounds * np.abs(rounds))
        return float(signed_root(low)), float(signed_root(high))
    if rounds is not None:
        return interval(rounds)
    limits = [(each.low, each.high) for each in draws]
    if any(low is None or high is None for low, high in limits):
        return None, None
    low, high = np.mean(np.array(limits, dtype=np.float64), axis=0)
    return float(low), float(high)


def _test(tests: list[Permutations | None]) -> Permutations | None:
    """The permutation test of the mean statistic, the same labels exchanged in every draw.

    With one draw the test is exact. With more, a prompt's human text changes places with all its
    answers at once: that has the variances and covariances of the null hypothesis and so its
    distribution in the limit of many prompts.
    """
    known = [test for test in tests if test is not None]
    if len(known) < len(tests):
        return None
    statistic = float(np.mean([test.statistic for test in known]))
    null = np.mean([test.null for test in known], axis=0)
    return Permutations(statistic, null, known[0].level)


def _mean_of_known(parts: np.ndarray) -> np.ndarray:
    """Mean over the first axis; NaN where no part is known."""
    known = np.isfinite(parts).sum(0)
    return np.where(known > 0, np.nansum(parts, axis=0) / np.maximum(known, 1), np.nan)


def _mean_square(roots: np.ndarray) -> np.ndarray:
    return signed_root(np.mean(roots * np.abs(roots), axis=0))


def _together(
    parts: Sequence[np.ndarray | None], average: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray | None:
    """The average over the draws of what each has, [draws, ...]; None where one has none."""
    known = [part for part in parts if part is not None]
    return average(np.array(known)) if len(known) == len(parts) else None
