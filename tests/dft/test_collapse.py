"""The signs of a collapsed policy, and the limits that they break."""

from __future__ import annotations

import pytest

from dftfast.dft.collapse import broken_guards, copied, repetition, runs


def test_signs_of_collapse():
    assert repetition([[1, 2, 3, 4, 5, 6], [1, 2, 3, 4]]) == 0.0
    assert repetition([[7] * 13]) == pytest.approx(0.9)
    corpus = runs([range(100), [7] * 20, range(3)])
    assert len(corpus) == 93 + 1
    assert copied([range(10), [50, 51, 52, 53, 54, 55, 56, 57, 0], range(5)], corpus) == 4 / 5
    assert copied([range(7)], corpus) == copied([], corpus) == copied([range(10)], runs([])) == 0.0
    start = {"empty": 0.0, "cut": 0.0, "repetition": 0.02, "copied": 0.03, "length": 50.0}
    start |= {"entropy": 2.0, "human_nats": 2.5}
    assert not broken_guards({**start, "kl": 0.3}, start, 40.0)
    for change, name in [
        ({"empty": 0.2}, "empty"),
        ({"cut": 0.3}, "cut"),
        ({"repetition": 0.2}, "repetition"),
        ({"copied": 0.2}, "copied"),
        ({"length": 90.0}, "length"),
        ({"length": 15.0}, "length"),
        ({"entropy": 0.9}, "entropy"),
        ({"kl": 2.0}, "KL"),
        ({"kl": float("nan")}, "KL"),
        ({"human_nats": 2.8}, "human texts"),
    ]:
        (broken,) = broken_guards(start | change, start, 40.0)
        assert broken.startswith(name)
