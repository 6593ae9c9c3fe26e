"""Small tasks that have one right answer: copying, arithmetic, instructions. Made here, by a seed.

They are easy for a model of any size, so that what training costs shows.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import NamedTuple

EACH = 30
_WORDS = "amber basin cedar delta ember fjord grove haven inlet jetty knoll larch mesa".split()
_OPPOSITES = {
    "hot": "cold", "big": "small", "up": "down", "open": "closed", "day": "night",
    "early": "late", "wet": "dry", "full": "empty", "left": "right", "high": "low",
}  # fmt: skip


class Task(NamedTuple):
    """A question, and whether an answer to it is right."""

    kind: str
    question: str
    right: Callable[[str], bool]


def exact_tasks(seed: int = 0) -> list[Task]:
    """30 of each kind."""
    rng = random.Random(seed)
    makers = (_copying, _arithmetic, _instruction)
    return [make(rng) for make in makers for _ in range(EACH)]


def _copying(rng: random.Random) -> Task:
    text = " ".join(rng.sample(_WORDS, 5)) + f" {rng.randint(100, 999)}"
    return Task("copying", f"Repeat this text exactly: {text}", lambda answer: text in answer)


def _arithmetic(rng: random.Random) -> Task:
    a, b = rng.randint(2, 40), rng.randint(2, 40)
    plus = rng.random() < 0.5
    question = f"What is {max(a, b)} {'plus' if plus else 'minus'} {min(a, b)}?"
    value = str(a + b if plus else abs(a - b))
    numbers = lambda answer: re.findall(r"\d+", answer)
    return Task("arithmetic", question, lambda answer: numbers(answer)[-1:] == [value])


def _instruction(rng: random.Random) -> Task:
    word, opposite = rng.choice(sorted(_OPPOSITES.items()))
    if rng.random() < 0.5:
        question = f"Answer with one word: what is the opposite of {word}?"
        return Task("instructions", question, lambda a: a.strip(" .!\n").lower() == opposite)
    question = f"Write the word {word} in capital letters, and nothing else."
    return Task("instructions", question, lambda a: a.strip(" .!\n") == word.upper())
