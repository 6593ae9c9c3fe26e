"""Collapse metrics, read from a policy's rollouts, and the guards that give a phase up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from dftfast.rollout import RolloutBatch

NGRAM = 4
RUN = 8  # tokens; shorter runs in common with the corpus are common phrases
# Rises since the start beyond which a phase is given up.
MOST_MORE = {"empty": 0.1, "cut": 0.2, "repetition": 0.1, "copied": 0.1}
LEAST_ENTROPY = 0.5  # in units of the start's
MOST_NATS = 1.1  # of human texts, in units of the start's
MOST_KL = 1.0  # from the phase before, nats a token
LENGTH_FACTOR = 2.0  # between the mean lengths of outputs and of human texts, either way
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
    metrics: dict[str, float], start: dict[str, float], human_length: float
) -> list[str]:
    """Say in words which guards the collapse metrics break: those of a phase to give up.

    Args:
        metrics: of the policy as it stands; `human_nats` and `kl` count where they are there.
        start: the metrics before the first phase.
        human_length: mean tokens of a human text.
    """
    broken = []
    for name, most in MOST_MORE.items():
        if metrics[name] > start[name] + most:
            broken.append(f"{name} {metrics[name]:.3f}, at the start {start[name]:.3f}")
    drift, before = (
        abs(math.log(max(each["length"], 1e-9) / human_length)) for each in (metrics, start)
    )
    if drift > max(math.log(LENGTH_FACTOR), before):
        broken.append(f"length {metrics['length']:.1f} tokens, human {human_length:.1f}")
    if metrics["entropy"] < LEAST_ENTROPY * start["entropy"]:
        broken.append(
            f"entropy {metrics['entropy']:.3f} nats a token, at the start {start['entropy']:.3f}"
        )
    if not metrics.get("human_nats", 0.0) <= MOST_NATS * start["human_nats"]:
        broken.append(
            f"human texts cost {metrics['human_nats']:.3f} nats a token, "
            f"at the start {start['human_nats']:.3f}"
        )
    if not metrics.get("kl", 0.0) <= MOST_KL:
        broken.append(f"KL {metrics['kl']:.3f} nats a token from the phase before")
    return broken
