"""Collapse metrics, read from a policy's rollouts, and the guards that give a phase up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from dftfast.dft.settings import PhaseGuards
from dftfast.rollout import RolloutBatch

NGRAM = 4
RUN = 8  # tokens; shorter runs in common with the corpus are common phrases
# Factors of a hash that is linear in the tokens.
FACTORS = np.random.default_rng(0).integers(2**64, size=RUN, dtype=np.uint64)


def collapse_metrics(batches: Sequence[RolloutBatch], texts: Sequence[str]) -> dict[str, float]:
    """What shows collapse: five numbers by name.

    They are the shares of empty and of cut texts, the share of 4-grams that the same text had
    before, the tokens a text, and the entropy in nats a token.
    """
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
    count = distinct = 0
    for output in outputs:
        grams = _grams(output)
        count, distinct = count + len(grams), distinct + len(set(grams))
    return 1 - distinct / count if count else 0.0


def repeated(tokens: Sequence[int]) -> np.ndarray:
    """bool [n]: which tokens belong to a 4-gram that occurred earlier in the text."""
    seen: set[tuple[int, ...]] = set()
    again = np.zeros(len(tokens), dtype=bool)
    for i, gram in enumerate(_grams(tokens)):
        again[i : i + NGRAM] |= gram in seen
        seen.add(gram)
    return again


def _grams(tokens: Sequence[int]) -> list[tuple[int, ...]]:
    return list(zip(*(tokens[i:] for i in range(NGRAM))))


def runs(texts: Iterable[Sequence[int]]) -> np.ndarray:
    """Sorted uint64: a hash of every run of 8 tokens inside a text, each once."""
    hashes = [np.zeros(0, np.uint64)]
    for text in texts:
        if len(text) >= RUN:
            windows = sliding_window_view(np.asarray(text, np.uint64), RUN)
            hashes.append(windows @ FACTORS)
    return np.unique(np.concatenate(hashes))


def copied(texts: Iterable[Sequence[int]], corpus: np.ndarray) -> float:
    """Share of the runs of the texts, each once, that are among those of the `corpus`."""
    own = runs(texts)
    return len(np.intersect1d(own, corpus, assume_unique=True)) / max(len(own), 1)


def broken_guards(
    metrics: dict[str, float], start: dict[str, float], human_length: float, guards: PhaseGuards
) -> list[str]:
    """Say in words which guards the collapse metrics break.

    Args:
        metrics: of the policy as it stands; `human_nats` and `kl` count where they are there.
        start: the metrics before the first phase.
        human_length: mean tokens of a human text.
    """
    broken = []
    for name in ("empty", "cut", "repetition", "copied"):
        if metrics[name] > start[name] + getattr(guards, name):
            broken.append(f"{name} {metrics[name]:.3f}, at the start {start[name]:.3f}")
    drift, before = (
        abs(math.log(max(each["length"], 1e-9) / human_length)) for each in (metrics, start)
    )
    if drift > max(math.log(guards.length), before):
        broken.append(f"length {metrics['length']:.1f} tokens, human {human_length:.1f}")
    if metrics["entropy"] < guards.entropy * start["entropy"]:
        broken.append(
            f"entropy {metrics['entropy']:.3f} nats a token, at the start {start['entropy']:.3f}"
        )
    if not metrics.get("human_nats", 0.0) <= (1 + guards.human_nats) * start["human_nats"]:
        broken.append(
            f"human texts cost {metrics['human_nats']:.3f} nats a token, "
            f"at the start {start['human_nats']:.3f}"
        )
    if not metrics.get("kl", 0.0) <= guards.kl:
        broken.append(f"KL {metrics['kl']:.3f} nats a token from the phase before")
    return broken
