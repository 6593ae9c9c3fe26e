"""All offline figures of 2,000 against 2,000 texts with 1,000 rounds; the limit is 60 s and 4 GB on two cores."""
import resource

import numpy as np
import pytest

from dftfast.evaluation import Reference, TextSet, evaluate, overlap


def corpus(seed: int, n: int = 2000, words: int = 300) -> TextSet:
    """Texts of Zipf-distributed words with a sentence end every 14, as hard on n-gram counts as prose."""
    rng = np.random.default_rng(seed)
    tokens = rng.zipf(1.25, size=(n, words)) % 20000
    ends = np.arange(words) % 14 == 13
    texts = [" ".join(f"w{t}{'.' if e else ''}" for t, e in zip(row, ends)) for row in tokens]
    return TextSet([str(i) for i in range(n)], ["prompt"] * n, texts, tokens.tolist(),
                   rng.normal(size=(n, 384)).astype(np.float32), finish_reason=["stop"] * n)


def test_all_figures(benchmark):
    outputs, human = corpus(0), corpus(1)
    figures = benchmark.pedantic(lambda: evaluate(outputs, Reference(human, rounds=1000)), rounds=1)
    assert all(f.value is not None for f in figures.values())
    benchmark.extra_info["limit_s"] = 60
    benchmark.extra_info["share_of_limit"] = benchmark.stats.stats.min / 60
    benchmark.extra_info["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


@pytest.mark.parametrize("n", [200])
def test_self_bleu_beside_sacrebleu(benchmark, n):
    """The peer takes n references for each of n texts, so it is measured on 5 of them."""
    import time

    from sacrebleu.metrics import BLEU

    texts = list(corpus(0, n).texts)
    benchmark(overlap.self_bleu, texts)
    start = time.perf_counter()
    for i in range(5):
        BLEU(effective_order=True).sentence_score(texts[i], texts[:i] + texts[i + 1:])
    peer = (time.perf_counter() - start) / 5 * n
    benchmark.extra_info["sacrebleu_s"] = peer
    benchmark.extra_info["speedup"] = peer / benchmark.stats.stats.median
