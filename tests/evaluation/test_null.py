"""The human level, verdicts and the tests together: what human texts are among human texts."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from dftfast.evaluation import (
    Estimate,
    Reference,
    compare,
    embedding,
    evaluate,
    quadratic,
)
from dftfast.evaluation.discriminant import Classifier, balanced, right
from dftfast.evaluation.estimate import Permutations, wilson
from dftfast.evaluation.super_baseline import super_baseline
from dftfast.evaluation.told import step_down, told

DISTANCES = (
    *("mmd2", "token_l2_1", "token_l2_2", "token_l2_3", "token_sq_1", "style_mmd", "jsd"),
    *("mmd_characters", "frechet", "c2st", "self_bleu"),
)


def human_v_human(sets, n, m, trials, prefix):
    reference = lambda k: Reference(sets(m, 1000 + k), rounds=100, seed=k)
    return [evaluate(sets(n, k, prefix=prefix), reference(k)) for k in range(trials)]


@pytest.mark.parametrize("n, m, prefix", [(30, 30, "p"), (25, 90, "q"), (90, 25, "q")])
def test_human_texts_are_at_the_human_level(n, m, prefix, sets):
    """Also where the sets are of different size, which every one of these distances depends on."""
    figures = human_v_human(sets, n, m, 30, prefix)
    for name in DISTANCES:
        inside = sum(each[name].within_human for each in figures)
        assert inside >= 24, (name, inside)  # at 95% fewer than 24 of 30 has a chance of 0.1%
        assert np.mean([each[name].p for each in figures]) == pytest.approx(0.5, abs=0.2), name
    answers = [told(each) for each in figures]
    assert sum(answer.told for answer in answers) <= 6


def test_a_small_set_beside_a_large_one_is_measured_against_as_small_a_human_set(sets):
    few = evaluate(sets(40, 1, prefix="q"), Reference(sets(400, 0), rounds=100))
    assert few["c2st"].value == pytest.approx(0.5, abs=0.2)  # not the share of the larger class
    for name in ("token_l2_1", "jsd", "self_bleu"):
        f = few[name]
        assert f.human == pytest.approx(f.value, rel=0.25) and f.within_human, name
    equal = evaluate(sets(400, 1, prefix="q"), Reference(sets(400, 0), rounds=100))
    assert few["token_l2_1"].human > 1.5 * equal["token_l2_1"].human
    assert abs(few["token_sq_1"].value) < 3 * few["token_sq_1"].human_high


def test_the_classifier_is_the_discriminant_of_scikit_learn():
    """On the held-out fifth: the same side of the border as linear discriminant analysis with the
    covariance shrunk alike, with classes of unequal size and equal priors."""
    rng = np.random.default_rng(8)
    rows = np.concatenate([rng.normal(size=(40, 6)) + 0.7, rng.normal(size=(160, 6))])
    labels = np.r_[np.ones(40), np.zeros(160)]
    model = Classifier(rows, 40, False, 0)
    scores = model.scores(labels[None])[0]
    held_out, _ = model._folds[0]
    z, known = model.rows.astype(np.float64), ~held_out
    means = [z[known & (labels == k)].mean(0) for k in (0, 1)]
    centred = z[known] - z[known].mean(0)
    direction = np.linalg.solve(centred.T @ centred + 400 * np.eye(6), means[1] - means[0])
    expected = (z[held_out] - (means[0] + means[1]) / 2) @ direction
    assert scores[held_out] == pytest.approx(expected, rel=1e-3, abs=1e-5)
    assert balanced(right(scores, labels), labels) == pytest.approx(
        balanced_accuracy_score(labels, scores > 0)
    )
    assert model.null(labels[None])[0] == balanced(right(scores, labels), labels)


def test_the_null_of_the_frechet_distance_is_the_distance_of_the_exchanged_sets():
    rng = np.random.default_rng(9)
    for n, d, rank in ((40, 6, 6), (8, 12, 12), (40, 6, 4)):  # MiniLM's span 381 dimensions of 384
        rows = rng.normal(size=(2 * n, rank)) @ rng.normal(size=(rank, d))
        first = quadratic.random_subsets(rng, 3, 2 * n, n)
        expected = [embedding.frechet(rows[k == 1], rows[k == 0]) for k in first]
        assert embedding.frechet_null(rows, first) == pytest.approx(expected, rel=1e-5)


def test_nothing_inside_the_human_level_is_better_or_worse():
    rounds = np.linspace(-0.01, 0.01, 101)
    level = lambda value: Estimate(
        value, human=0.10, human_low=0.08, human_high=0.12, rounds=value + rounds
    )
    low, high = level(0.07), level(0.115)
    for metric in ("jsd", "mtld"):
        assert compare(metric, low, high).verdict == compare(metric, high, low).verdict == "level"
    far = level(0.2)
    assert compare("jsd", high, far).verdict == "better"
    assert compare("jsd", far, high).verdict == "worse"
    # no nearer to people than people are: 0.07 and 0.10 are both without a loss
    assert compare("jsd", low, far).gain == compare("jsd", level(0.10), far).gain
    assert super_baseline({"a": {"mtld": low}, "b": {"mtld": high}})["mtld"][0] == "b"
    assert compare("bleu", low, far) is None


def test_the_level_of_a_mean_is_that_of_the_human_texts(sets):
    x, y = sets(60, 1), sets(60, 0)
    f = evaluate(x, Reference(y, rounds=3000))["length_mean"]
    d = np.array([len(t.split()) for t in x.texts]) - [len(t.split()) for t in y.texts]
    assert f.human == np.mean([len(t.split()) for t in y.texts])
    spread = np.sqrt((d**2).sum()) / 60  # of the mean of the differences with their signs at random
    assert (f.human_high - f.human) / spread == pytest.approx(1.96, rel=0.08)
    assert (f.human - f.human_low) / spread == pytest.approx(1.96, rel=0.08)


def test_few_permutations_have_the_interval_and_the_p_of_a_normal():
    rng = np.random.default_rng(0)
    draws = rng.normal(3, 2, size=(4000, 12))
    new = rng.normal(3, 2, size=4000)
    tests = [Permutations(value, null) for value, null in zip(new, draws)]
    inside = [low <= test.statistic <= high for test in tests for _, low, high in [test.human]]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)
    assert np.mean([test.p < 0.05 for test in tests]) == pytest.approx(0.05, abs=0.015)


def test_step_down_is_wrong_as_often_as_it_says_and_finds_what_is_there():
    rng = np.random.default_rng(1)
    mix = rng.normal(size=(12, 12)) + 2  # tests that depend on one another
    wrong, found = 0, 0
    for _ in range(300):
        null, seen = rng.normal(size=(199, 12)) @ mix, rng.normal(size=12) @ mix
        tests = {str(k): Permutations(seen[k], null[:, k]) for k in range(12)}
        wrong += min(step_down(tests).values()) <= 0.05
        tests["0"] = Permutations(null[:, 0].mean() + 6 * null[:, 0].std(), null[:, 0])
        adjusted = step_down(tests)
        found += adjusted["0"] <= 0.05
        assert all(adjusted[name] >= tests[name].p - 1e-12 for name in tests)
    assert wrong <= 28 and found == 300  # of 15 expected
    assert step_down({}) == {}


def test_told_from_human_texts_by_what_differs(sets):
    answer = told(evaluate(sets(60, 1, shift=1.0), Reference(sets(60, 0), rounds=100)))
    assert answer.told and answer.differs("mmd2") and answer.differs("c2st")
    assert not answer.differs("mtld") and not answer.differs("bleu")


def test_shares_of_none_and_of_all_end_at_0_and_1():
    for n in (100, 300, 600, 1000):
        assert wilson(np.zeros(n))[0] == 0 and wilson(np.ones(n))[1] == 1
