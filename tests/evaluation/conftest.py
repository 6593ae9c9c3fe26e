import random

import numpy as np
import pytest

from dftfast.evaluation import TextSet

_NOUNS = (
    "river table letter morning winter garden engine market window teacher road song house story "
    "ship"
).split()
_VERBS = (
    "finds leaves carries opens follows remembers crosses paints keeps loses mends hears".split()
)


def write(rng: random.Random, sentences: int) -> str:
    """A few sentences from a small grammar."""
    return " ".join(
        f"{rng.choice(['The', 'A', 'One', 'Every'])} {rng.choice(_NOUNS)} {rng.choice(_VERBS)} "
        f"the {rng.choice(_NOUNS)}{rng.choice(['', ' again', ' at night'])}."
        for _ in range(sentences)
    )


def make(
    n: int, seed: int, shift: float = 0.0, prefix: str = "p", dimensions: int = 8, **changes
) -> TextSet:
    rng, noise = random.Random(seed), np.random.default_rng(seed)
    texts = [write(rng, rng.randint(2, 7)) for _ in range(n)]
    values = dict(
        ids=[f"{prefix}{i}" for i in range(n)],
        prompts=[f"Prompt {i}" for i in range(n)],
        texts=texts,
        token_ids=[[hash_word(w) for w in t.split()] for t in texts],
        embeddings=(noise.normal(size=(n, dimensions)) + shift).astype(np.float32),
        finish_reason=["stop"] * n,
    )
    return TextSet(**{**values, **changes})


def hash_word(word: str) -> int:
    return sum(ord(c) * 31**i for i, c in enumerate(word)) % 997


@pytest.fixture
def sets():
    return make
