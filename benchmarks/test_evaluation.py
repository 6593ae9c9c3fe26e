"""All offline figures of 2,000 against 2,000 texts with 1,000 rounds.

The limit is 60 s and 4 GB on two cores.
`cpu_s` beside the wall time tells a busy machine: two free cores need between half of it and all of
it.
"""

import resource
import time

import numpy as np
import pytest

from dftfast.evaluation import Reference, TextSet, evaluate, overlap
from dftfast.evaluation.slop.copying import Corpus

LIMIT_S, LIMIT_GB = 60, 4


def corpus(seed: int, n: int = 2000, words: int = 300) -> TextSet:
    """Zipf-distributed words, a sentence end every 14: as hard on n-gram counts as prose."""
    rng = np.random.default_rng(seed)
    tokens = rng.zipf(1.25, size=(n, words)) % 20000
    ends = np.arange(words) % 14 == 13
    texts = [" ".join(f"w{t}{'.' if e else ''}" for t, e in zip(row, ends)) for row in tokens]
    return TextSet(
        [str(i) for i in range(n)],
        ["prompt"] * n,
        texts,
        tokens.tolist(),
        rng.normal(size=(n, 384)).astype(np.float32),
        finish_reason=["stop"] * n,
    )


def test_all_figures(benchmark):
    outputs, human, trained_on = corpus(0), corpus(1), corpus(2, 4000).texts
    start = time.process_time()
    figures = benchmark.pedantic(
        lambda: evaluate(outputs, Reference(human, rounds=1000, corpus=trained_on)), rounds=1
    )
    assert all(f.value is not None for f in figures.values())
    wall = benchmark.stats.stats.min
    benchmark.extra_info |= {
        "cpu_s": time.process_time() - start,
        "limit_s": LIMIT_S,
        "share_of_limit": wall / LIMIT_S,
        "limit_gb": LIMIT_GB,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


@pytest.mark.parametrize("n, words", [(200, 300), (2000, 1024)])
def test_self_bleu_beside_sacrebleu(benchmark, n, words):
    """The peer takes n - 1 references for each of n texts, so it is measured on a few of them."""
    from sacrebleu.metrics import BLEU

    texts = list(corpus(0, n, words).texts)

    def ours():
        overlap._tokenizer().__class__.__call__.cache_clear()
        return overlap.self_bleu(texts)

    benchmark.pedantic(ours, rounds=3)
    few = 5 if n <= 200 else 1
    start = time.perf_counter()
    for i in range(few):
        BLEU(effective_order=True).sentence_score(texts[i], texts[:i] + texts[i + 1 :])
    peer = (time.perf_counter() - start) / few * n
    benchmark.extra_info |= {"sacrebleu_s": peer, "speedup": peer / benchmark.stats.stats.median}


def test_copies_from_a_corpus(benchmark):
    """2,000 texts against 2.4 million words. No peer: tokens of the corpus a second."""
    trained_on, texts = Corpus(corpus(2, 8000).texts), corpus(0).texts
    benchmark.pedantic(lambda: trained_on.per_text(texts), rounds=3)
    benchmark.extra_info["corpus_tokens_per_s"] = 8000 * 300 / benchmark.stats.stats.median
