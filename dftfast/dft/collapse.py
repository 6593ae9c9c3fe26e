"""Signs that a policy has collapsed, read from its rollouts, and the limits at which a phase is given up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from dftfast.rollout import RolloutBatch

NGRAM = 4
RUN = 8  # tokens; shorter runs in common with the corpus are common phrases
FACTORS = np.random.default_rng(0).integers(
    2**64, size=RUN, dtype=np.uint64
)  # of a hash that is linear in the tokens


def collapse_metrics(batches: Sequence[RolloutBatch], texts: Sequence[str]) -> dict[str, float]:
    """Shares of empty and of cut texts, share of 4-grams that the same text had before, tokens a text, nats a token."""
    outputs = [batch.output(i) for batch in batches for i in range(len(batch))]
    tokens = sum(map(len, outputs))
    return {
        "empty": sum(not text for text in texts) / len(texts),
        "cut": sum(batch.finish_reason.count("length") for batch in batches) / len(texts),
        "repetition": repetition(outputs),
        "length": tokens / len(texts),
        "entropy": sum(float(batch.entropies.double().sum()) for batch in batches) / tokens,
    }


def repetition(outputs: Sequence[Sequence[int]]) -> float:
    """Share of the 4-grams of tokens that occurred earlier in the same text."""
    found = distinct = 0
    for output in outputs:
        grams = _grams(output)
        found, distinct = found + len(grams), distinct + len(set(grams))
    return 1 - distinct / found if found else 0.0


def repeated(tokens: Sequence[int]) -> np.ndarray:
    """bool [n]: which tokens belong to a 4-gram that occurred earlier in the text."""
    seen, found = set(), np.zeros(len(tokens), dtype=bool)
    for i, gram in enumerate(_grams(tokens)):
        found[i : i + NGRAM] |= gram in seen
        seen.add(gram)
    return found


def _grams(tokens: Sequence[int]) -> list[tuple[int, ...]]:
    return list(zip(*(tokens[i:] for i in range(NGRAM))))


def runs(texts: Iterable[Sequence[int]]) -> np.ndarray:
    """Sorted uint64: a hash of every run of 8 tokens inside a text, each once."""
    found = [np.zeros(0, np.uint64)]
    for text in texts:
        if len(text) >= RUN:
            found.append(
                np.lib.stride_tricks.sliding_window_view(np.asarray(text, np.uint64), RUN) @ FACTORS
            )
    return np.unique(np.concatenate(found))


def copied(texts: Iterable[Sequence[int]], corpus: np.ndarray) -> float:
    """Share of the runs of the texts, each once, that are among those of the ``corpus``."""
    found = runs(texts)
    return len(np.intersect1d(found, corpus, assume_unique=True)) / max(len(found), 1)


def broken_guards(
    found: dict[str, float], start: dict[str, float], human_length: float, guards
) -> list[str]:
    """What is beyond the ``dft.guards`` of the configuration, in words; ``start`` is the collapse before DFT. Likelihoods
    count where they are in ``found``."""
    broken = []
    for name in ("empty", "cut", "repetition", "copied"):
        if found[name] > start[name] + getattr(guards, name):
            broken.append(f"{name} {found[name]:.3f}, at the start {start[name]:.3f}")
    drift, before = (
        abs(math.log(max(each["length"], 1e-9) / human_length)) for each in (found, start)
    )
    if drift > max(math.log(guards.length), before):
        broken.append(f"length {found['length']:.1f} tokens, human {human_length:.1f}")
    if found["entropy"] < guards.entropy * start["entropy"]:
        broken.append(
            f"entropy {found['entropy']:.3f} nats a token, at the start {start['entropy']:.3f}"
        )
    if not found.get("human_nats", 0.0) <= (1 + guards.human_nats) * start["human_nats"]:
        broken.append(
            f"human texts cost {found['human_nats']:.3f} nats a token, at the start {start['human_nats']:.3f}"
        )
    if not found.get("kl", 0.0) <= guards.kl:
        broken.append(f"KL {found['kl']:.3f} nats a token from the phase before")
    return broken
