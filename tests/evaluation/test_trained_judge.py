"""The judge trained on the pairs of other prompts: its values, chance, where it is shown."""

import json

import numpy as np
import pytest
from evaluate_files import arguments, save
from sklearn.linear_model import Ridge

from dftfast import evaluate as command
from dftfast.evaluation import Reference, evaluate
from dftfast.evaluation.discriminant import RIDGE
from dftfast.evaluation.trained_judge import PairClassifier


def judge(outputs, human, rounds=99):
    return evaluate(outputs, Reference(human, rounds=rounds), also=["trained_judge"])[
        "trained_judge"
    ]


def test_the_classifier_is_a_ridge_regression_on_pairs_in_both_orders():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(80, 5)) + 0.4, rng.normal(size=(80, 5))
    model = PairClassifier(x, y, 0)
    expected = np.empty(80)
    for held_out, _ in model._folds:
        known = model.rows[~held_out]
        ridge = Ridge(alpha=2 * RIDGE, fit_intercept=False)
        ridge.fit(np.r_[known, -known], np.r_[np.ones(len(known)), -np.ones(len(known))])
        expected[held_out] = ridge.predict(model.rows[held_out]) > 0
    as_they_are = np.ones((1, 80))
    assert (model.right(as_they_are)[0] == expected).all() and 0.6 < expected.mean() < 1
    assert (model.right(-as_they_are) == model.right(as_they_are)).all()  # a pair has no order
    signs = rng.choice([-1.0, 1.0], (3, 80))
    exchanged = [
        PairClassifier(np.where(s[:, None] > 0, x, y), np.where(s[:, None] > 0, y, x), 0)
        for s in signs
    ]
    expected = [each.right(as_they_are).mean() for each in exchanged]
    assert model.null(signs) == pytest.approx(expected)


def test_two_human_texts_are_told_apart_by_chance(sets):
    found = [judge(sets(60, 2 * k), sets(60, 2 * k + 1)) for k in range(40)]
    assert np.mean([f.p < 0.05 for f in found]) <= 0.15
    assert np.mean([f.value for f in found]) == pytest.approx(0.5, abs=0.03)
    assert np.mean([f.within_human for f in found]) >= 0.85
    assert np.mean([f.low <= 0.5 <= f.high for f in found]) >= 0.85


def test_what_differs_in_content_or_in_style_alone_is_told(sets):
    human, same = sets(120, 0), sets(120, 1)
    moved = judge(sets(120, 1, shift=1.0), human)
    assert moved.value > 0.9 and moved.p <= 0.02 and moved.low > moved.human_high
    nearly = judge(sets(120, 1, shift=1.6), human)
    assert 0.95 < nearly.low <= nearly.value <= nearly.high <= 1
    same.texts = [text.replace(".", "!") for text in same.texts]
    shouted = judge(same, human)
    assert shouted.value > 0.9 and shouted.p <= 0.02


def test_pairs_are_needed_and_enough_of_them(sets):
    other = judge(sets(60, 1, prefix="q"), sets(60, 0))
    assert other.value is None and "other prompts" in other.reason
    assert judge(sets(12, 1), sets(12, 0)).reason == "fewer than 20 prompts"


def test_it_is_a_row_where_it_is_asked_for(sets, tmp_path):
    human = save(tmp_path / "human.jsonl", sets(40, 0))
    shouted = sets(40, 1)
    shouted.texts = [text.replace(".", "!") for text in shouted.texts]
    given = arguments([save(tmp_path / "loud.jsonl", shouted)], human)
    out = tmp_path / "out"
    command.main([*given, "--out", str(out)])
    results = json.loads((out / "results.json").read_text())
    assert "trained_judge" not in results["systems"]["loud"]
    command.main([*given, "--out", str(out), "--train-judge"])
    results = json.loads((out / "results.json").read_text())
    row = results["systems"]["loud"]["trained_judge"]
    assert row["value"] > 0.9 and row["p"] < 0.05 and row["human_low"] < 0.5 < row["human_high"]
    assert "Judge trained here" in (out / "report.html").read_text()


def test_it_is_a_row_of_the_terminal(sets, tmp_path, capsys):
    human, outputs = (save(tmp_path / f"{k}.jsonl", sets(30, k)) for k in (0, 1))
    command.main([*arguments([outputs], human), "--train-judge"])
    assert "Judge trained here" in capsys.readouterr().out
