import random
import sys
from pathlib import Path

import numpy as np
import pytest

from dftfast.evaluation import TextSet

sys.path.insert(0, str(Path(__file__).parent))  # for `evaluate_files`

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


@pytest.fixture
def files(sets, tmp_path):
    """Files of two systems, and that of the human texts."""
    from evaluate_files import save

    at = [{"temperature": 0.5}] * 30
    human = save(tmp_path / "reference.jsonl", sets(30, 0))
    return [
        save(tmp_path / "cold.jsonl", sets(30, 1), sampler=at),
        save(tmp_path / "dft.jsonl", sets(30, 2)),
    ], human
