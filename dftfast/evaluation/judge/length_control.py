"""What a judge's verdicts owe to length: who wins where lengths differ, and at equal length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dftfast.runtime.words import words

MOST = 3.0  # |log ratio| of lengths; beyond it a text is short or long, not more
RIDGE = 0.1  # keeps the slope finite where the longer text always wins


def log_ratios(outputs: Sequence[str], human: Sequence[str]) -> np.ndarray:
    """log of the words of each output by those of the human text beside it. float64 [n]"""
    count = lambda texts: np.array([max(len(words(text)), 1) for text in texts], np.float64)
    return np.clip(np.log(count(outputs) / count(human)), -MOST, MOST)


def longer_wins(wins: np.ndarray, ratio: np.ndarray) -> tuple[int, int]:
    """How many decided pairs of unequal length the longer text won, and how many there are."""
    decided = np.isin(wins, (0, 1)) & (ratio != 0)
    return int(((wins == 1) == (ratio > 0))[decided].sum()), int(decided.sum())


def at_equal_length(wins: np.ndarray, ratio: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The win rate where both texts are as long, in each round. [rounds]

    P(win) = σ(a + b ratio) by logistic regression (Newton's method, a small ridge on b), and σ(a):
    the length-controlled win rate of Dubois et al., Length-Controlled AlpacaEval, COLM 2024.

    Args:
        wins: 1, 0 or 0.5 for a tie; NaN where there is no verdict. [n]
        weights: how often each pair counts, [rounds, n].
    """
    known = np.isfinite(wins)
    y, x, w = wins[known], ratio[known], weights[:, known]
    a, b = np.zeros(len(w)), np.zeros(len(w))
    for _ in range(25):
        p = 1 / (1 + np.exp(-(a[:, None] + b[:, None] * x)))
        slope = w * (y - p)
        grad_a, grad_b = slope.sum(1) - 1e-3 * a, slope @ x - RIDGE * b
        curve = w * p * (1 - p)
        aa, ab, bb = curve.sum(1) + 1e-3, curve @ x, curve @ x**2 + RIDGE
        scale = aa * bb - ab**2
        step_a, step_b = (bb * grad_a - ab * grad_b) / scale, (aa * grad_b - ab * grad_a) / scale
        a, b = a + np.clip(step_a, -2, 2), b + np.clip(step_b, -2, 2)
    return 1 / (1 + np.exp(-a))
