"""Distances between outputs and human texts: kernels, token frequencies, Gaussians, classifier."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse

from dftfast.distribution.mmd import signed_root
from dftfast.evaluation import embedding, ngrams, quadratic
from dftfast.evaluation.estimate import Estimate, Permutations, estimate, interval, undefined
from dftfast.evaluation.two_samples import TwoSamples

NGRAM_ORDERS = (1, 2, 3)


def embedding_mmd(s: TwoSamples) -> dict[str, Estimate]:
    out = _mmd(s, "mmd", "mmd2", s.x.embeddings, s.y.embeddings, lambda: s.reference.bandwidth)
    if s.has_unseen:
        out |= _mmd(
            s,
            "mmd_unseen",
            "mmd2_unseen",
            s.x.unseen_embeddings,
            s.y.unseen_embeddings,
            lambda: s.reference.unseen_bandwidth,
        )
    return out


def style_mmd(s: TwoSamples) -> Estimate:
    scale = s.reference.style
    return _mmd(
        s, "style_mmd", "", scale.standardised(s.x.texts), scale.human, lambda: scale.bandwidth
    )["style_mmd"]


def _mmd(
    s: TwoSamples,
    root: str,
    square: str,
    x: np.ndarray | None,
    y: np.ndarray | None,
    bandwidth: Callable[[], float],
) -> dict[str, Estimate]:
    """MMD under the name `root` and MMD² under `square`."""
    problem = s.embedding_problem(x, y)
    if problem is None and not bandwidth() > embedding.NO_BANDWIDTH:
        problem = "most human embeddings are equal: no bandwidth"
    if problem:
        return {root: undefined(problem), square: undefined(problem)}
    assert x is not None and y is not None
    h = bandwidth()
    yy = embedding.rbf(y, y, h)
    floor = s.reference.mmd2_floor(root, yy)
    statistic = quadratic.UStatistic(embedding.rbf(x, x, h), yy, embedding.rbf(x, y, h), s.paired)
    value, rounds = statistic.value(), statistic.resample(s.w, s.v)
    test = Permutations(value, statistic.permuted(s.rounds, s.seed))
    squared = estimate(value, rounds, test=test, human=(float(floor.mean()), *interval(floor)))
    value, low, high = _roots(squared.value, squared.low, squared.high)
    human, human_low, human_high = _roots(squared.human, squared.human_low, squared.human_high)
    drawn = signed_root(squared.rounds)
    rooted = Estimate(
        value, low, high, test.p, human, human_low, human_high, rounds=drawn, test=test
    )
    return {root: rooted, square: squared}


def _roots(*squares: float | None) -> list[float]:
    return signed_root(np.array(squares)).tolist()


def token_distances(s: TwoSamples) -> dict[str, Estimate]:
    names = [f"token_l2_{n}" for n in NGRAM_ORDERS] + ["jsd"]
    if s.x.token_ids is None or s.y.token_ids is None:
        return {name: undefined("no token ids") for name in names}
    documents = [*s.x.token_ids, *s.y.token_ids]
    vocab = 1 + max((max(d) for d in documents if len(d)), default=0)
    out, n = {}, len(s.x)
    for order in NGRAM_ORDERS:
        keys, document = ngrams.ngram_keys(documents, order, vocab, s.reference.exclude)
        counts, _ = ngrams.count_matrix(keys, document, len(documents))
        totals = np.asarray(counts.sum(1)).ravel()
        enough = totals[:n].sum() and totals[n:].sum()
        out[f"token_l2_{order}"] = (
            _token_l2(s, counts, totals) if enough else undefined(f"no {order}-grams")
        )
        if order == 1:
            out["jsd"] = _jsd(s, counts[:n], counts[n:]) if enough else undefined("no tokens")
    return out


def _token_l2(s: TwoSamples, counts: sparse.csr_matrix, totals: np.ndarray) -> Estimate:
    n, gram = len(s.x), ngrams.gram(counts)

    def squared(
        x: np.ndarray, y: np.ndarray, gram: np.ndarray = gram, totals: np.ndarray = totals
    ) -> np.ndarray:
        z = x / (x @ totals)[:, None] - y / (y @ totals)[:, None]
        return np.maximum(quadratic.forms(z, gram, z), 0)

    value = float(np.linalg.norm(ngrams.frequencies(counts[:n]) - ngrams.frequencies(counts[n:])))
    drawn = squared(np.pad(s.w, ((0, 0), (0, len(s.y)))), np.pad(s.v, ((0, 0), (n, 0))))
    test = Permutations(value, np.sqrt(squared(s.exchanged, 1 - s.exchanged)))
    halves = s.reference.halves
    # halves: twice the variance of n with n
    floor = np.sqrt(squared(halves, 1 - halves, gram[n:, n:], totals[n:]) / 2)
    on_square = estimate(value**2, drawn)  # centred where the plug-in bias is additive
    rounds = np.sqrt(np.maximum(on_square.rounds, 0)) if on_square.rounds is not None else None
    low, high = interval(rounds) if rounds is not None else (None, None)
    human = (float(floor.mean()), *interval(floor))
    return Estimate(value, low, high, test.p, *human, rounds=rounds, test=test)


def _jsd(s: TwoSamples, x: sparse.csr_matrix, y: sparse.csr_matrix) -> Estimate:
    pooled = lambda counts: np.asarray(counts.sum(0)).ravel()
    floor = s.reference.split_floor("jsd", lambda a, b: ngrams.jsd(pooled(y[a]), pooled(y[b])))
    return estimate(
        float(ngrams.jsd(pooled(x), pooled(y))),
        ngrams.jsd_rounds(x, y, s.w, s.v),
        human=_spread(floor),
    )


def frechet(s: TwoSamples) -> Estimate:
    x, y = s.x.embeddings, s.y.embeddings
    problem = s.embedding_problem(x, y)
    if problem:
        return undefined(problem)
    assert x is not None and y is not None
    human = None
    if len(y) >= 4 * y.shape[1]:  # with fewer texts it does not fall as a power of their number
        human = _spread(
            s.reference.split_floor("frechet", lambda a, b: embedding.frechet(y[a], y[b]))
        )
    return estimate(embedding.frechet(x, y), embedding.frechet_rounds(x, y, s.w, s.v), human=human)


def c2st(s: TwoSamples) -> dict[str, Estimate]:
    out = {"c2st": _c2st(s, "c2st", s.x.embeddings, s.y.embeddings)}
    if s.has_unseen:
        out["c2st_unseen"] = _c2st(s, "c2st_unseen", s.x.unseen_embeddings, s.y.unseen_embeddings)
    return out


def _c2st(s: TwoSamples, name: str, x: np.ndarray | None, y: np.ndarray | None) -> Estimate:
    problem = s.embedding_problem(x, y)
    if problem:
        return undefined(problem)
    assert x is not None and y is not None
    if min(len(x), len(y)) < 20:
        return undefined("fewer than 20 texts")
    correct, n = embedding.c2st_correct(x, y, s.paired, s.seed), len(x)
    accuracy = (s.w @ correct[:n] + s.v @ correct[n:]) / (s.w.sum(1) + s.v.sum(1))
    return estimate(float(correct.mean()), accuracy, human=_spread(s.reference.c2st_floor(name, y)))


def mauve(s: TwoSamples) -> Estimate:
    """MAUVE and its interval for the given clustering.

    Only the histograms over the clusters are drawn again.
    """
    try:
        from mauve.compute_mauve import (  # pyright: ignore[reportMissingImports]
            compute_area_under_curve,
            compute_mauve,
            get_divergence_curve_for_multinomials,
        )
    except ImportError:
        return undefined("install dftfast[mauve]")
    problem = s.embedding_problem(s.x.embeddings, s.y.embeddings)
    if problem:
        return undefined(problem)
    result = compute_mauve(
        p_features=s.y.embeddings, q_features=s.x.embeddings, seed=s.seed, verbose=False
    )
    rng, mixtures = np.random.default_rng([s.seed, 6]), np.linspace(1e-6, 1 - 1e-6, 25)

    def again() -> float:
        p = rng.multinomial(len(s.y), result.p_hist) / len(s.y)
        q = rng.multinomial(len(s.x), result.q_hist) / len(s.x)
        a, b = get_divergence_curve_for_multinomials(p, q, mixtures, 5).T
        first, second = np.argsort(a), np.argsort(b)
        return (
            compute_area_under_curve(a[first], b[first])
            + compute_area_under_curve(b[second], a[second])
        ) / 2

    score = estimate(float(result.mauve), np.array([again() for _ in range(s.rounds)]))
    score.rounds = None  # not drawn by prompt: no paired comparison
    return score


def _spread(values: np.ndarray) -> tuple[float, float, float]:
    return float(values.mean()), float(values.min()), float(values.max())
