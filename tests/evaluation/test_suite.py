import numpy as np
import pytest

from dftfast.evaluation import METRICS, Reference, evaluate, verdicts
from dftfast.evaluation.super_baseline import super_baseline
from dftfast.runtime.errors import UserError


def test_every_figure_of_alike_and_shifted_sets(sets):
    human = sets(60, 0)
    reference = Reference(human, rounds=100)
    alike, shifted = evaluate(sets(60, 1), reference), evaluate(sets(60, 2, shift=1.0), reference)
    assert alike.pop("typography").reason  # the texts have neither quotation marks nor dashes
    for name, f in alike.items():
        assert name in METRICS
        assert f.reason is None and f.low <= f.value <= f.high, name
    assert alike["mmd2"].p > 0.02 and shifted["mmd2"].p < 0.02
    assert shifted["mmd"].low > alike["mmd"].high
    assert shifted["frechet"].value > alike["frechet"].value
    assert shifted["c2st"].value > 0.8 and 0.25 < alike["c2st"].value < 0.75
    assert alike["token_l2_1"].p > 0.02


def test_identical_sets_are_at_the_floor(sets):
    human = sets(40, 0)
    figures = evaluate(human, human, rounds=50)
    for name in ("token_l2_1", "token_l2_2", "token_l2_3", "jsd"):
        assert figures[name].value == 0
    assert figures["frechet"].value == pytest.approx(0, abs=1e-9)
    assert figures["mmd2"].value <= 0 and figures["mmd2"].p == 1
    assert figures["chrf"].value == pytest.approx(100) and figures["bleu"].value == pytest.approx(
        100
    )


def test_order_of_either_set_does_not_matter(sets):
    human, outputs = sets(30, 0), sets(30, 1, shift=0.3)
    turned = list(np.random.default_rng(0).permutation(30))
    first = evaluate(outputs, human, rounds=40)
    second = evaluate(outputs.select(turned), human, rounds=40)
    for name, f in first.items():
        if f.value is None:
            assert name == "typography" and second[name] == f
            continue
        assert second[name].value == pytest.approx(f.value, rel=1e-9), name
        assert second[name].low == pytest.approx(f.low, rel=1e-6, abs=1e-9), name


def test_same_seed_same_figures(sets):
    human, outputs = sets(30, 0), sets(30, 1)
    assert evaluate(outputs, human, rounds=40) == evaluate(outputs, human, rounds=40)


def test_without_common_prompts_the_sets_are_independent_samples(sets):
    figures = evaluate(sets(50, 1, prefix="q"), sets(40, 0), rounds=40)
    assert figures["mmd2"].value is not None
    assert figures["bleu"].value is None and "different prompts" in figures["bleu"].reason


def test_what_is_missing_is_undefined_with_a_reason(sets):
    figures = evaluate(
        sets(20, 1, embeddings=None, token_ids=None, finish_reason=None), sets(20, 0), rounds=40
    )
    for name in ("mmd", "mmd2", "frechet", "c2st", "token_l2_1", "jsd", "cut_by_length"):
        assert figures[name].value is None and figures[name].reason
    assert figures["mtld"].value is not None


def test_bad_input_is_refused(sets):
    human = sets(20, 0)
    with pytest.raises(UserError, match="2 token_ids for 20 texts"):
        sets(20, 1, token_ids=[[1], [2]])
    broken = np.zeros((20, 8), np.float32)
    broken[7, 3] = np.nan
    with pytest.raises(UserError, match=r"text 7 .id p7. are not finite"):
        sets(20, 1, embeddings=broken)
    with pytest.raises(UserError, match="'p0' occurs twice"):
        sets(20, 1, ids=["p0"] * 20)
    with pytest.raises(UserError, match="at least 4"):
        evaluate(sets(1, 1), human)
    with pytest.raises(UserError, match=r"1 empty texts.*'p5'"):
        evaluate(human, sets(20, 0, texts=[*human.texts[:5], " ", *human.texts[6:]]))
    with pytest.raises(UserError, match=r"same prompts.*10 ids are missing, the first is 'p10'"):
        evaluate(sets(10, 1), human)
    with pytest.raises(UserError, match="8-dimensional"):
        evaluate(sets(20, 1), sets(20, 0, dimensions=5))


def test_super_baseline_takes_the_best_of_each_metric(sets):
    human = sets(50, 0)
    reference = Reference(human, rounds=60)
    results = {
        "far": evaluate(sets(50, 1, shift=1.0), reference),
        "near": evaluate(sets(50, 2, shift=0.2), reference),
    }
    best = super_baseline(results)
    for metric, (_, estimate) in best.items():
        value = lambda f: {
            "lower": f.value,
            "higher": -f.value if f.value is not None else None,
        }.get(
            METRICS[metric].better,
            abs(f.value - estimate.human) if METRICS[metric].better == "human" else None,
        )
        assert value(estimate) == min(value(r[metric]) for r in results.values())
    assert best["mmd"][0] == "near"
    verdict = verdicts({**results, "dft": evaluate(sets(50, 3), reference)}, "dft")
    assert verdict["mmd"][0] == "near" and verdict["mmd"][1].gain > 0
    assert verdicts({**results, "dft": results["near"]}, "dft")["mmd"][1].gain == 0


def test_json_has_no_nan(sets, tmp_path):
    import json

    from dftfast.evaluation import read_results, write_results

    results = {"a": evaluate(sets(20, 1, embeddings=None), sets(20, 0), rounds=40)}
    path = write_results(tmp_path, results, about={"texts": 20})
    assert json.loads(path.read_text())["systems"]["a"]["mmd"]["value"] is None
    assert read_results(path) == results
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]
