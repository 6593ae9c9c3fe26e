"""Distances between outputs and human texts: kernels, token frequencies, Gaussians, classifier."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse

from dftfast.distribution.mmd import signed_root
from dftfast.evaluation import embedding, ngrams, quadratic
from dftfast.evaluation.discriminant import Classifier, balanced, right
from dftfast.evaluation.estimate import (
    Estimate,
    Permutations,
    estimate,
    interval,
    share_estimate,
    undefined,
)
from dftfast.evaluation.glyphs import glyph_matrix
from dftfast.evaluation.two_samples import TwoSamples

NGRAM_ORDERS = (1, 2, 3)
FRECHET_ROUNDS = 12  # permutations: each takes the eigenvalues of a matrix


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


def character_mmd(s: TwoSamples) -> Estimate:
    view = s.reference.characters
    return _mmd(s, "mmd_characters", "", view.of(s.x.texts), view.human, lambda: view.bandwidth)[
        "mmd_characters"
    ]


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
    statistic = quadratic.UStatistic(
        embedding.rbf(x, x, h), embedding.rbf(y, y, h), embedding.rbf(x, y, h), s.paired
    )
    value = statistic.value()
    test = Permutations(value, statistic.permuted(s.exchanged))
    squared = estimate(value, statistic.resample(s.w, s.v), test=test)
    value, low, high = _roots(squared.value, squared.low, squared.high)
    level, level_low, level_high = _roots(*test.human)
    drawn = signed_root(squared.rounds)
    return {
        root: Estimate(
            value, low, high, test.p, level, level_low, level_high, rounds=drawn, test=test
        ),
        square: squared,
    }


def _roots(*squares: float | None) -> list[float]:
    return signed_root(np.array(squares)).tolist()


def token_distances(s: TwoSamples) -> dict[str, Estimate]:
    names = [f"token_{kind}_{n}" for n in NGRAM_ORDERS for kind in ("l2", "sq")] + ["jsd"]
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
        root, square = f"token_l2_{order}", f"token_sq_{order}"
        if enough:
            out |= dict(zip((root, square), _token_l2(s, counts, totals)))
        else:
            out |= {name: undefined(f"no {order}-grams") for name in (root, square)}
        if order == 1:
            out["jsd"] = _jsd(s, counts) if enough else undefined("no tokens")
    return out


def _token_l2(
    s: TwoSamples, counts: sparse.csr_matrix, totals: np.ndarray
) -> tuple[Estimate, Estimate]:
    """The distance of the frequencies, and its square without the part that chance adds."""
    n, gram = len(s.x), ngrams.gram(counts)

    def squared(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        z = x / (x @ totals)[:, None] - y / (y @ totals)[:, None]
        return np.maximum(quadratic.forms(z, gram, z), 0)

    value = float(np.linalg.norm(ngrams.frequencies(counts[:n]) - ngrams.frequencies(counts[n:])))
    null = squared(s.exchanged, 1 - s.exchanged)
    drawn = squared(np.pad(s.w, ((0, 0), (0, len(s.y)))), np.pad(s.v, ((0, 0), (n, 0))))
    on_square = estimate(value**2, drawn)  # centred where the plug-in bias is additive
    rounds = np.sqrt(np.maximum(on_square.rounds, 0)) if on_square.rounds is not None else None
    low, high = interval(rounds) if rounds is not None else (None, None)
    test = Permutations(value, np.sqrt(null))
    rooted = Estimate(value, low, high, test.p, *test.human, rounds=rounds, test=test)
    chance = _chance(s, gram, totals)
    square = value**2 - chance
    # without the rounding of a difference, which in equal sets would be all there is
    test_square = Permutations(round(square, 15), np.round(null - null.mean(), 15))
    unbiased = estimate(square, drawn - drawn.mean() + square, test=test_square)
    return rooted, unbiased


def _chance(s: TwoSamples, gram: np.ndarray, totals: np.ndarray) -> float:
    """What the chance of which texts were drawn adds to the squared distance, to first order."""
    x, y = slice(0, len(s.x)), slice(len(s.x), None)
    apart = chance(gram, totals, x, x) + chance(gram, totals, y, y)
    return apart - 2 * chance(gram, totals, x, y) if s.paired else apart


def chance(gram: np.ndarray, totals: np.ndarray, own: slice, other: slice) -> float:
    """How two sets of frequencies, each from its own texts, vary together as the texts are drawn.

    A frequency is a ratio of sums; text i moves it by (c_i - t_i f) / T for counts c_i, total t_i,
    frequencies f and T = Σt (Cochran, Sampling Techniques, 1977, eq. 6.9). This is the sum over i
    of the products of what the i-th texts of both move, from the products of counts alone.

    Args:
        gram: products of the counts of every two texts, [n + m, n + m].
        totals: n-grams of each text, [n + m].
        own, other: where the two sets lie; the same for the variance of one.
    """
    block, of_own, of_other = gram[own, other], totals[own].sum(), totals[other].sum()
    a, b = totals[own] / of_own, totals[other] / of_other
    each = np.trace(block) - block.sum(1) @ b - a @ block.sum(0) + block.sum() * (a @ b)
    return float(each * len(a) / (len(a) - 1) / (of_own * of_other))


def _jsd(s: TwoSamples, counts: sparse.csr_matrix) -> Estimate:
    n = len(s.x)
    pooled = lambda part: np.asarray(part.sum(0)).ravel()
    value = float(ngrams.jsd(pooled(counts[:n]), pooled(counts[n:])))
    several, single = ngrams.one_sided(counts)
    again = lambda w, v: ngrams.jsd_rounds(several, single, w, v)
    drawn = again(np.pad(s.w, ((0, 0), (0, len(s.y)))), np.pad(s.v, ((0, 0), (n, 0))))
    return estimate(value, drawn, test=Permutations(value, again(s.exchanged, 1 - s.exchanged)))


def frechet(s: TwoSamples) -> Estimate:
    x, y = s.x.embeddings, s.y.embeddings
    problem = s.embedding_problem(x, y)
    if problem:
        return undefined(problem)
    assert x is not None and y is not None
    value, few = embedding.frechet(x, y), s.exchanged[:FRECHET_ROUNDS]
    test = Permutations(value, embedding.frechet_null(np.concatenate([x, y]), few))
    return estimate(value, embedding.frechet_rounds(x, y, s.w, s.v), test=test)


def c2st(s: TwoSamples) -> dict[str, Estimate]:
    out = {"c2st": _c2st(s, s.x.embeddings, s.y.embeddings)}
    if s.has_unseen:
        out["c2st_unseen"] = _c2st(s, s.x.unseen_embeddings, s.y.unseen_embeddings)
    return out


def glyph_c2st(s: TwoSamples) -> Estimate:
    return _c2st(s, glyph_matrix(s.x.texts), glyph_matrix(s.y.texts))


def _c2st(s: TwoSamples, x: np.ndarray | None, y: np.ndarray | None) -> Estimate:
    problem = s.embedding_problem(x, y)
    if problem:
        return undefined(problem)
    assert x is not None and y is not None
    if min(len(x), len(y)) < 20:
        return undefined("fewer than 20 texts")
    n, labels = len(x), np.r_[np.ones(len(x)), np.zeros(len(y))]
    model = Classifier(np.concatenate([x, y]), n, s.paired, s.seed)
    correct = right(model.scores(labels[None])[0], labels)
    value = float(balanced(correct, labels))
    test = Permutations(value, model.null(s.exchanged))
    drawn = (s.w @ correct[:n] / s.w.sum(1) + s.v @ correct[n:] / s.v.sum(1)) / 2
    # The rounds keep the classifiers. Other texts would train others: where that moves the figure
    # more, as it does near one half, the spread is that of the permutations, which train anew.
    wider = max(1.0, test.null.std() / max(drawn.std(), 1e-9))
    return share_estimate(value, value + (drawn - drawn.mean()) * wider, test)


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
    if score.low is not None and score.high is not None:
        score.low, score.high = max(score.low, 0.0), min(score.high, 1.0)
    score.rounds = None  # not drawn by prompt: no paired comparison
    return score
