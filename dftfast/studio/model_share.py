"""How much of a draft a model wrote."""

from __future__ import annotations

from dftfast.runtime.words import lower_words

RUN = 5  # words


def model_share(text: str, written: str) -> float:
    """The share of a text's words that stand in runs of `RUN` words which a model wrote.

    Args:
        written: all that a model wrote for it.
    """
    own, others = lower_words(text), lower_words(written)
    size = min(RUN, len(own))
    runs = {tuple(others[i : i + size]) for i in range(len(others) - size + 1)}
    taken = [False] * len(own)
    for i in range(len(own) - size + 1):
        if size and tuple(own[i : i + size]) in runs:
            taken[i : i + size] = [True] * size
    return round(sum(taken) / len(own), 3) if own else 0.0
