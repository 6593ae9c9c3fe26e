"""Properties of the figures as estimates, their intervals and tests; what is undefined; MAUVE."""

import math

import numpy as np
import pytest

from dftfast.evaluation import (
    METRICS,
    Reference,
    analyse,
    compare,
    embedding,
    evaluate,
    ngrams,
    overlap,
    quadratic,
)
from dftfast.evaluation.distances import chance
from dftfast.evaluation.two_samples import TwoSamples
from dftfast.runtime.errors import UserError


def test_every_figure_has_an_interval_that_holds_it(sets):
    outputs, human = sets(60, 1, shift=0.2), sets(60, 0)
    figures = evaluate(outputs, Reference(human, rounds=100, corpus=sets(20, 5).texts))
    unseen = {"mmd_unseen", "mmd2_unseen", "c2st_unseen"}
    asked_for = unseen | {
        "mauve",
        "trained_judge",
        "called_human",
        "length_error",
        "em_dash_error",
        "outline_coverage",
    }
    assert set(METRICS) - set(figures) == asked_for | {m for m in METRICS if m.startswith("jmq")}
    assert figures.pop("typography").reason  # the texts have neither quotation marks nor dashes
    for name, f in figures.items():
        assert f.reason is None and f.low <= f.value <= f.high and len(f.rounds) == 100, name


def test_two_sample_distances_are_symmetric(sets):
    x, y = sets(30, 1, shift=0.3), sets(30, 0)
    style = lambda a, b: evaluate(a, Reference(b, bandwidth=3.0, rounds=30))
    forward, back = style(x, y), style(y, x)
    for name in ("mmd2", "token_l2_1", "token_l2_2", "token_l2_3", "jsd", "frechet"):
        assert back[name].value == pytest.approx(forward[name].value, rel=1e-9), name
        assert back[name].p == forward[name].p or abs(back[name].p - forward[name].p) < 0.2, name


def test_equal_sets_are_at_zero_in_every_distance(sets):
    human = sets(40, 0)
    figures = evaluate(human, Reference(human, rounds=50))
    for name in ("token_l2_1", "token_l2_2", "token_l2_3", "jsd"):
        assert figures[name].value == 0, name
    assert figures["frechet"].value == pytest.approx(0, abs=1e-9)
    assert (
        figures["mmd2"].value <= 0
        and figures["mmd2"].p == figures["style_mmd"].p == figures["token_l2_1"].p == 1
    )
    for name in ("mtld", "length_mean", "not_but", "sentence_length", "punctuation"):
        assert figures[name].value == figures[name].human and figures[name].p == 1, name


def test_mean_over_repeated_human_halves_is_zero(sets):
    """MMD² between random halves of one set, over embeddings and over style, has its mean within
    its interval of 0."""
    human = sets(80, 0)
    reference = Reference(human, rounds=400)
    for gram in (
        embedding.rbf(human.embeddings, human.embeddings, reference.bandwidth),
        embedding.rbf(reference.style.human, reference.style.human, reference.style.bandwidth),
    ):
        halves = quadratic.random_subsets(np.random.default_rng(0), 400, 80, 40)
        values = quadratic.split_mmd2(gram, halves)
        assert abs(values.mean()) < 3 * values.std() / math.sqrt(len(values))


def test_classifier_cannot_tell_human_from_human(sets):
    """Accuracy on two samples of one population: 1/2 within the interval, over many simulations as
    often as it says."""
    inside = [
        (f := evaluate(bare(sets, 2 * k), Reference(bare(sets, 2 * k + 1), rounds=200))["c2st"]).low
        <= 0.5
        <= f.high
        for k in range(20)
    ]
    assert sum(inside) >= 15  # of 20 at 95%; 14 or fewer has a probability below 1e-4


def bare(sets, seed, n=60):
    return sets(n, seed, texts=["A word."] * n, token_ids=None, dimensions=12)


def test_bootstrap_interval_of_a_mean_is_that_of_the_normal_theory(sets):
    s = TwoSamples(sets(400, 1), Reference(sets(400, 0), rounds=1000))
    x = np.random.default_rng(0).normal(size=400)
    f = s.mean(x, x)
    assert (f.high - f.low) / 2 == pytest.approx(1.96 * x.std() / 20, rel=0.1)


def test_paired_comparison_knows_that_prompts_are_shared(sets):
    """Two systems that differ by a constant on every prompt: the paired interval is far narrower
    than either's own."""
    human = sets(80, 0)
    reference = Reference(human, rounds=300)
    first, longer = (
        sets(80, 1, texts=[t + " One word more." * k for t in sets(80, 1).texts]) for k in (8, 9)
    )
    a, b = (evaluate(x, reference)["length_mean"] for x in (first, longer))
    c = compare("length_mean", a, b)
    assert c.gain == pytest.approx(abs(b.value - b.human) - abs(a.value - a.human))
    assert c.high - c.low < 0.5 * (a.high - a.low) and c.verdict in ("better", "worse")


@pytest.mark.parametrize("seed", range(6))
def test_one_text_in_a_thousand_is_no_evidence_and_ten_are(sets, seed):
    s = TwoSamples(sets(1000, 1), Reference(sets(1000, 0), rounds=1000, seed=seed))
    none, one, ten = (
        s.mean((np.arange(1000) < k).astype(float), np.zeros(1000)) for k in (0, 1, 10)
    )
    assert (
        np.quantile(one.rounds, 0.025) == 0
        and compare("foreign_script", one, none).verdict == "level"
    )
    assert (
        ten.low > 0
        and np.quantile(ten.rounds, 0.025) > 0
        and compare("foreign_script", ten, none).verdict == "worse"
    )


def test_a_share_has_an_interval_where_no_text_counts_and_where_a_mean_has_that_of_the_bootstrap(
    sets,
):
    from scipy.stats import binomtest

    s = TwoSamples(sets(1000, 1), Reference(sets(1000, 0), rounds=1000))
    some = np.r_[np.nan, np.arange(999) < 30]
    none, few = s.mean(np.zeros(1000), np.zeros(1000)), s.mean(some, np.zeros(1000))
    for (low, high), count, n in (
        ((none.low, none.high), 0, 1000),
        ((few.low, few.high), 30, 999),
    ):
        expected = binomtest(count, n).proportion_ci(method="wilson")
        assert (low, high) == pytest.approx((expected.low, expected.high), rel=1e-12)
    half = s.mean(some / 2, np.zeros(1000))
    assert (half.low, half.high) == pytest.approx(
        (few.low / 2, few.high / 2), rel=0.2
    ) and half.low != few.low / 2


def test_a_constant_or_collapsed_model_is_far_and_not_undefined(sets):
    human = sets(40, 0)
    one = sets(
        40,
        1,
        texts=["The same."] * 40,
        token_ids=[[1, 2]] * 40,
        embeddings=np.zeros((40, 8), np.float32) + 3,
    )
    figures = evaluate(one, Reference(human, rounds=50))
    assert (
        figures["mmd2"].p < 0.05
        and figures["near_duplicates"].value == 1
        and figures["self_bleu"].value == 1
    )
    assert figures["c2st"].value > 0.9 and figures["frechet"].value > 1


def test_empty_outputs_leave_figures_undefined_never_wrong(sets):
    human = sets(30, 0)
    empty = sets(30, 1, texts=[""] * 30, token_ids=[[]] * 30)
    figures = evaluate(empty, Reference(human, rounds=50, corpus=["one text of the corpus"]))
    for name in (
        "token_l2_1",
        "token_l2_2",
        "token_l2_3",
        "jsd",
        "mtld",
        "type_token_ratio",
        "sentence_length",
        "sentence_spread",
        "paragraph_length",
        "punctuation",
        "longest_copy",
        "copied",
    ):
        assert figures[name].value is None and figures[name].reason, name
    assert (
        figures["length_mean"].value == 0
        and figures["bleu"].value == figures["chrf"].value == figures["self_bleu"].value == 0
    )
    assert all(f.value is None or math.isfinite(f.value) for f in figures.values())
    slop = analyse(empty, Reference(human, rounds=50))
    assert (
        slop.phrases == slop.shares == []
        and not slop.lengths[0].outputs
        and len(slop.duplicates) == 15
    )
    some = sets(30, 1)
    some.texts[4], some.token_ids[4] = "", []
    undefined = {n for n, f in evaluate(some, Reference(human, rounds=50)).items() if f.reason}
    assert undefined == {"typography"}  # the texts have neither quotation marks nor dashes


@pytest.mark.parametrize("embeddings, reason", [(np.ones((20, 8), np.float32), "no bandwidth")])
def test_equal_human_embeddings_leave_mmd_undefined(sets, embeddings, reason):
    figures = evaluate(sets(20, 1), Reference(sets(20, 0, embeddings=embeddings), rounds=30))
    assert figures["mmd"].value is None and reason in figures["mmd"].reason


def test_figures_of_the_second_embedding_come_from_it_alone(sets):
    """Outputs shifted in the first embedding only: the second cannot tell them, and is worse by
    nothing but chance."""
    shifted, alike = sets(60, 1, shift=1.0).embeddings, sets(60, 2).embeddings
    human = sets(60, 0)
    reference = Reference(sets(60, 0, unseen_embeddings=human.embeddings), rounds=60)
    figures = evaluate(sets(60, 1, embeddings=shifted, unseen_embeddings=alike), reference)
    turned = evaluate(sets(60, 1, embeddings=alike, unseen_embeddings=shifted), reference)
    for name in ("mmd", "mmd2", "c2st"):
        assert (
            figures[name].value == turned[f"{name}_unseen"].value
            and turned[name].value == figures[f"{name}_unseen"].value
        )
    assert figures["c2st"].value > 0.8 and 0.25 < figures["c2st_unseen"].value < 0.75
    assert figures["c2st_unseen"].human_low <= 0.5 <= figures["c2st_unseen"].human_high


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("field", ["embeddings", "unseen_embeddings"])
def test_embeddings_that_are_not_finite_are_refused(sets, bad, field):
    values = np.zeros((20, 8), np.float32)
    values[3, 2] = bad
    with pytest.raises(UserError, match=f"{field} of text 3 .id p3. are not finite"):
        sets(20, 1, **{field: values})


def test_embeddings_of_another_shape_are_refused(sets):
    with pytest.raises(UserError, match="must be"):
        sets(20, 1, embeddings=np.zeros(20, np.float32))
    with pytest.raises(UserError, match="19 embeddings for 20 texts"):
        sets(20, 1, embeddings=np.zeros((19, 8), np.float32))


def test_sets_that_share_only_some_prompts_are_refused(sets):
    ids = [f"p{i}" for i in range(19)] + ["other"]
    with pytest.raises(UserError, match="1 ids are missing, the first is 'p19'; 1 ids are not in"):
        evaluate(sets(20, 1, ids=ids), sets(20, 0))


def test_mauve_is_that_of_mauve_text_with_an_interval(sets):
    mauve = pytest.importorskip("mauve")
    x, y = sets(80, 1, shift=0.4), sets(80, 0)
    mauve = evaluate(x, Reference(y, rounds=100), also=["mauve"])["mauve"]
    expected = mauve.compute_mauve(
        p_features=y.embeddings, q_features=x.embeddings, seed=0, verbose=False
    ).mauve
    assert (
        mauve.value == pytest.approx(expected, rel=1e-6)
        and 0 < mauve.low < mauve.value < mauve.high
    )
    assert evaluate(y, Reference(y, rounds=50), also=["mauve"])["mauve"].value == pytest.approx(
        1, abs=0.02
    )


def test_mauve_without_the_extra_says_what_to_install(sets, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mauve.compute_mauve", None)
    mauve = evaluate(sets(20, 1), Reference(sets(20, 0), rounds=30), also=["mauve"])["mauve"]
    assert mauve.value is None and mauve.reason == "install dftfast[mauve]"


def test_self_bleu_and_ngram_counts_of_odd_sets():
    assert overlap.self_bleu(["", ""])[0].tolist() == [0, 0]
    assert overlap.self_bleu(["a b", "a b"])[0].tolist() == [1, 1]
    with pytest.raises(ValueError, match="do not fit"):
        ngrams.ngram_keys([[1, 2, 3]], 4, 2**20)


def test_what_chance_adds_to_a_squared_distance_is_the_sum_of_what_texts_move():
    """Each text's move of the frequencies, written out."""
    rng = np.random.default_rng(3)
    counts = rng.poisson(1.5, (50, 9)).astype(float) + 1
    totals, gram = counts.sum(1), counts @ counts.T
    x, y = slice(0, 30), slice(20, None)  # any two sets of as many texts
    moves = []
    for own in (x, y):
        c, t = counts[own], totals[own]
        moves.append((c - t[:, None] * (c.sum(0) / t.sum())) / t.sum())
    for a, own in zip(moves, (x, y)):
        for b, other in zip(moves, (x, y)):
            expected = (a * b).sum() * 30 / 29
            assert chance(gram, totals, own, other) == pytest.approx(expected, rel=1e-9)
