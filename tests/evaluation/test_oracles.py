"""Every metric against an independent implementation or a case worked out by hand."""

import math
from collections import Counter

import numpy as np
import pytest
from scipy import linalg, stats
from scipy.spatial.distance import cdist, jensenshannon, pdist

from dftfast.evaluation import (
    Reference,
    distances,
    embedding,
    evaluate,
    ngrams,
    overlap,
    quadratic,
    text_stats,
)
from dftfast.evaluation.discriminant import Classifier, right
from dftfast.evaluation.estimate import p_value
from dftfast.evaluation.slop.duplicates import near_duplicates
from dftfast.evaluation.two_samples import TwoSamples
from dftfast.evaluation.writing_systems import corpus_scripts, scripts
from dftfast.runtime.words import paragraphs


def mmd2_by_loops(x, y, h, paired):
    k = lambda a, b: math.exp(-float(((a - b) ** 2).sum()) / (2 * h * h))
    mean = lambda values: sum(values) / len(values)
    same = lambda a: mean([k(a[i], a[j]) for i in range(len(a)) for j in range(len(a)) if i != j])
    cross = mean(
        [k(a, b) for i, a in enumerate(x) for j, b in enumerate(y) if not (paired and i == j)]
    )
    return same(x) + same(y) - 2 * cross


@pytest.mark.parametrize("paired", [True, False])
def test_mmd2(paired):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(14, 5)), rng.normal(size=(14 if paired else 11, 5)) + 0.4
    h = embedding.bandwidth(y.astype(np.float32))
    assert h == pytest.approx(np.median(pdist(y)), rel=1e-6)
    u = quadratic.UStatistic(
        *(np.exp(-cdist(a, b, "sqeuclidean") / (2 * h * h)) for a, b in ((x, x), (y, y), (x, y))),
        paired,
    )
    assert u.value() == pytest.approx(mmd2_by_loops(x, y, h, paired), rel=1e-9)
    ours = quadratic.UStatistic(
        *(embedding.rbf(a, b, h) for a, b in ((x, x), (y, y), (x, y))), paired
    )
    assert ours.value() == pytest.approx(mmd2_by_loops(x, y, h, paired), rel=1e-9)


def test_resampled_mmd2_is_that_of_the_drawn_texts_without_copies():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(6, 3)), rng.normal(size=(6, 3))
    grams = [np.exp(-cdist(a, b, "sqeuclidean")) for a, b in ((x, x), (y, y), (x, y))]
    w = np.array([[2, 0, 1, 1, 1, 1.0]])
    drawn = np.repeat(np.arange(6), w[0].astype(int))
    pairs = lambda g, distinct: np.mean(
        [g[i, j] for i in drawn for j in drawn if not distinct or i != j]
    )
    expected = pairs(grams[0], True) + pairs(grams[1], True) - 2 * pairs(grams[2], True)
    assert quadratic.UStatistic(*grams, paired=True).resample(w, w)[0] == pytest.approx(
        expected, rel=1e-12
    )


def test_swapping_pairs_is_the_statistic_of_the_swapped_sets():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    kernel = lambda a, b: np.exp(-cdist(a, b, "sqeuclidean"))
    u = quadratic.UStatistic(kernel(x, x), kernel(y, y), kernel(x, y), True)
    every = set()
    for code in range(32):
        swap = np.array([code >> k & 1 for k in range(5)], bool)[:, None]
        a, b = np.where(swap, y, x), np.where(swap, x, y)
        every.add(
            round(quadratic.UStatistic(kernel(a, a), kernel(b, b), kernel(a, b), True).value(), 12)
        )
    labels = quadratic.swap_within_pairs(np.random.default_rng(0), 400, 5)
    assert {round(v, 12) for v in u.permuted(labels)} == every


def frechet_by_eigenvalues(x, y, w, v):
    """tr (Cx Cy)^1/2 from the eigenvalues of the product, which are real and not negative."""
    cx, cy = (
        np.cov(x.T, aweights=w, ddof=0) * w.sum() / (w.sum() - 1),
        np.cov(y.T, aweights=v, ddof=0) * v.sum() / (v.sum() - 1),
    )
    root = np.sqrt(np.maximum(linalg.eigvals(cx @ cy).real, 0)).sum()
    return ((w @ x / w.sum() - v @ y / v.sum()) ** 2).sum() + np.trace(cx) + np.trace(cy) - 2 * root


@pytest.mark.parametrize("texts", [60, 12])  # more and fewer than dimensions
def test_frechet(texts):
    rng = np.random.default_rng(3)
    x, y = (
        rng.normal(size=(texts, 20)),
        rng.normal(size=(texts, 20)) @ np.diag(np.linspace(0.5, 2, 20)) + 0.3,
    )
    one = np.ones(texts)
    assert embedding.frechet(x, y) == pytest.approx(
        frechet_by_eigenvalues(x, y, one, one), rel=1e-6
    )
    for _ in range(3):  # the rounds are the derivative
        w, v = (1e-3 * (a - a.mean()) for a in rng.normal(size=(2, texts)))
        change = frechet_by_eigenvalues(x, y, one + w, one + v) - frechet_by_eigenvalues(
            x, y, one - w, one - v
        )
        rounds = embedding.frechet_rounds(
            x, y, np.array([one + w, one - w]), np.array([one + v, one - v])
        )
        assert rounds[0] - rounds[1] == pytest.approx(
            change, rel=1e-4, abs=5e-7
        )  # the noise of the eigenvalues


def test_frechet_of_gaussians_with_diagonal_covariance():
    rng = np.random.default_rng(4)
    base = rng.normal(size=(500, 3))
    base = (base - base.mean(0)) @ np.linalg.inv(
        np.linalg.cholesky(np.cov(base.T))
    ).T  # covariance exactly 1
    assert embedding.frechet(base * [1, 2, 3], base * [2, 2, 1] + [3, 0, 0]) == pytest.approx(
        9 + 1 + 0 + 4, rel=1e-9
    )


def counted(documents, n, exclude):
    grams = [tuple(d[i : i + n]) for d in documents for i in range(len(d) - n + 1)]
    return Counter(g for g in grams if not set(g) & exclude)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_token_l2_and_jsd(n, sets):
    x, y = sets(25, 5), sets(25, 6)
    exclude = {x.token_ids[0][1]}
    figures = evaluate(x, Reference(y, exclude=exclude, rounds=30))
    p, q = counted(x.token_ids, n, exclude), counted(y.token_ids, n, exclude)
    keys = sorted(p | q)
    f, g = (np.array([c[k] for k in keys]) / sum(c.values()) for c in (p, q))
    assert figures[f"token_l2_{n}"].value == pytest.approx(np.linalg.norm(f - g), rel=1e-9)
    if n == 1:
        assert figures["jsd"].value == pytest.approx(jensenshannon(f, g, base=2) ** 2, rel=1e-9)


def test_ngrams_neither_cross_documents_nor_bridge_excluded_tokens():
    keys, document = ngrams.ngram_keys([[1, 2, 9, 3, 4], [], [5], [6, 7]], 2, 10, exclude=[9])
    assert list(zip(keys, document)) == [(12, 0), (34, 0), (67, 3)]


def test_gram_matrix():
    rng = np.random.default_rng(5)
    documents = [list(rng.zipf(1.4, size=rng.integers(0, 300)) % 500) for _ in range(90)]
    counts, _ = ngrams.count_matrix(*ngrams.ngram_keys(documents, 1, 500), len(documents))
    dense = counts.toarray()
    assert np.array_equal(ngrams.gram(counts), dense @ dense.T)
    assert np.array_equal(ngrams.gram(counts, common=3), dense @ dense.T)


def test_bleu_chrf_self_bleu_are_those_of_sacrebleu(sets):
    from sacrebleu.metrics import BLEU, CHRF

    x, y = list(sets(20, 7).texts), list(sets(20, 8).texts)
    x[3], x[4], x[5] = "", "One", x[6]
    assert overlap.bleu(overlap.bleu_statistics(x, y).sum(0)) == pytest.approx(
        BLEU().corpus_score(x, [y]).score, rel=1e-9
    )
    assert overlap.chrf(overlap.chrf_statistics(x, y).sum(0)) == pytest.approx(
        CHRF().corpus_score(x, [y]).score, rel=1e-9
    )
    one = BLEU(effective_order=True)
    expected = [one.sentence_score(t, x[:i] + x[i + 1 :]).score / 100 for i, t in enumerate(x)]
    assert overlap.self_bleu(x)[0] == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_influences_of_self_bleu_and_duplicates_are_those_of_leaving_a_text_out(sets):
    """n θ - (n - 1) θ without text i, but for its mean; the first to first order."""
    x = list(sets(30, 7).texts)
    x[3], x[9], x[10] = x[4], x[5], x[5]
    for measure, least in ((overlap.self_bleu, 0.9), (near_duplicates, 1 - 1e-9)):
        scores, influences = measure(x)
        left = [measure(x[:i] + x[i + 1 :])[0].sum() for i in range(30)]
        assert np.corrcoef(influences, scores.sum() - left)[0, 1] > least
        assert influences.std() == pytest.approx(np.std(scores.sum() - left), rel=0.2)
        assert influences.mean() == pytest.approx(scores.mean())


def test_c2st_is_blind_to_prompts_it_shares():
    rng = np.random.default_rng(6)
    topic = rng.normal(size=(100, 10)) * 3
    labels = np.r_[np.ones(100), np.zeros(100)]
    noisy = lambda: topic + 0.1 * rng.normal(size=topic.shape)

    def correct(x, y):
        scores = Classifier(np.concatenate([x, y]), 100, True, 0).scores(labels[None])
        return right(scores[0], labels)

    assert stats.binomtest(int(correct(noisy(), noisy()).sum()), 200).pvalue > 0.01
    assert correct(topic, topic + 5).mean() > 0.95


def test_unbiased_token_l2_has_the_mean_of_the_truth(sets):
    """Samples of documents from two known distributions: the plug-in square is too large by what
    chance adds, the unbiased one by a tenth of that at most."""
    rng = np.random.default_rng(10)
    p, q = rng.dirichlet(np.ones(30)), rng.dirichlet(np.ones(30))
    draw = lambda f, n: [list(rng.choice(30, size=rng.integers(5, 15), p=f)) for _ in range(n)]
    truth, plain, unbiased = ((p - q) ** 2).sum(), [], []
    for _ in range(150):
        x, y = (
            sets(n, 0, prefix=name, token_ids=draw(f, n))
            for name, f, n in (("a", p, 30), ("b", q, 50))
        )
        figures = distances.token_distances(TwoSamples(x, Reference(y, rounds=20)))
        plain.append(figures["token_l2_1"].value ** 2)
        unbiased.append(figures["token_sq_1"].value)
    excess = np.mean(plain) - truth
    assert excess > 5 * np.std(plain) / math.sqrt(150)
    assert abs(np.mean(unbiased) - truth) < max(0.1 * excess, 3 * np.std(unbiased) / math.sqrt(150))


def test_statistics_of_texts_by_hand():
    assert text_stats.repeats_start("He ran. He sat. He slept.") and text_stats.repeats_start(
        "Hi.\nThe a\nThe b\nthe c"
    )
    assert not text_stats.repeats_start("He ran. He sat. She slept. He ate.")
    assert text_stats.type_token_ratio("the cat the dog") == 0.75 and math.isnan(
        text_stats.type_token_ratio("...")
    )
    assert scripts("a б 中 1!") == {"LATIN", "CYRILLIC", "HAN"}
    assert corpus_scripts(["abc"] * 99 + ["abc б"]) == {"LATIN", "CYRILLIC"}
    assert paragraphs("One.\n\n* \nTwo") == ["One.", "Two"]
    # a b a b: ratios 1, 1, .67 <= .72 closes a factor at 3 words; 12 words hold 4 factors
    assert text_stats.mtld("a b a " * 4) == pytest.approx(3)
    assert math.isnan(text_stats.mtld("few words"))
    distinct = " ".join(f"w{i}" for i in range(20))
    assert text_stats.mtld(distinct) == 20


def test_p_value_counts_the_observation():
    assert p_value(1.0, np.array([0.0, 0.5, 2.0])) == 0.5 and p_value(9.0, np.zeros(99)) == 0.01


@pytest.mark.slow
def test_type_one_error_of_both_permutation_tests(sets):
    hits = np.zeros((2, 2))
    for paired in (0, 1):
        for trial in range(400):
            x, y = (
                sets(40, 2 * trial, prefix="p"),
                sets(40, 2 * trial + 1, prefix="p" if paired else "q"),
            )
            s = TwoSamples(x, Reference(y, rounds=199))
            hits[paired] += (
                distances.embedding_mmd(s)["mmd2"].p <= 0.05,
                distances.token_distances(s)["token_l2_1"].p <= 0.05,
            )
    print(
        "rejected at 0.05, of independent and of paired samples, by MMD and by token L2:",
        hits / 400,
    )
    assert ((hits / 400 >= 0.03) & (hits / 400 <= 0.07)).all(), hits / 400


def test_mean_over_halves_of_one_population_is_zero():
    rng = np.random.default_rng(7)
    values = []
    for _ in range(60):
        x, y = (rng.normal(size=(40, 4)).astype(np.float32) for _ in range(2))
        values.append(
            quadratic.UStatistic(
                embedding.rbf(x, x, 2), embedding.rbf(y, y, 2), embedding.rbf(x, y, 2), True
            ).value()
        )
    assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(60)
