"""Plans of whole runs: what follows from what, and the command that prints them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from dftfast.__main__ import dispatch
from dftfast.config import load_config
from dftfast.planning.calibrate import TINY
from dftfast.planning.chips import CHIPS, H100_SHARES, RTX_6000_ADA
from dftfast.planning.measured_shares import read_shares
from dftfast.planning.model_sizes import model_sizes
from dftfast.planning.run_plan import RunPlan
from dftfast.planning.text_lengths import TextLengths, assumed_lengths, corpus_lengths
from dftfast.rollout.memory import num_adapter_weights
from dftfast.runtime.errors import UserError

ROOT = Path(__file__).parents[2]
H100_RESULTS = ROOT / "benchmarks" / "results" / "h100" / "gpu.json"
TEXTS = assumed_lengths(3000, 100, 300)


def plan(name, cards, chip=RTX_6000_ADA, texts=TEXTS, preset="qwen3-8b", **overrides):
    config = load_config(preset, [], [(k.replace("__", "."), v) for k, v in overrides.items()])
    return RunPlan(config, model_sizes(name), texts, chip, cards)


def stages(*arguments, **options):
    return {stage.stage: stage for stage in plan(*arguments, **options).stages()}


def test_a_race_costs_its_answers_and_leaves_fewer_to_give():
    """A grid of 300 settings: all of them on every prompt, or on a few and then the best."""
    grid = {"sweep__temperatures": "0.6,0.7,0.8,0.9,1", "sweep__min_p": "0,0.02,0.05,0.1"}
    grid |= {"sweep__top_p": "0.9,0.95,1", "sft__epochs": "1,2,3,4,5"}
    whole = stages("Qwen/Qwen3-8B", 1, **grid)["sweep"]
    raced = stages("Qwen/Qwen3-8B", 1, sweep__race="50", **grid)["sweep"]
    more = stages("Qwen/Qwen3-8B", 1, sweep__race="100", **grid)["sweep"]
    assert raced.seconds < more.seconds < whole.seconds
    few = stages("Qwen/Qwen3-8B", 1, sweep__temperatures="1")["sweep"]
    race = stages("Qwen/Qwen3-8B", 1, sweep__temperatures="1", sweep__race="50")["sweep"]
    assert race.seconds > few.seconds  # all settings go on


def test_shares_are_those_of_the_measured_card():
    found = dataclasses.asdict(read_shares(H100_RESULTS))
    wanted = dataclasses.asdict(H100_SHARES)
    assert found == pytest.approx(wanted, rel=0.01), "write the new shares into chips.py"
    assert all(0 < share <= 1 for share in wanted.values())


def test_more_cards_take_less_time_and_send_more():
    one, two, six = (stages("Qwen/Qwen3-8B", cards) for cards in (1, 2, 6))
    assert list(one) == ["sft", "sweep", "phase", "run"]
    for stage in one:
        assert one[stage].traffic == 0 < two[stage].traffic < six[stage].traffic
        # nothing is shared out better than evenly
        assert one[stage].seconds / 2 <= two[stage].seconds < one[stage].seconds
        assert one[stage].seconds / 6 <= six[stage].seconds < two[stage].seconds
        assert one[stage].memory <= RTX_6000_ADA.memory
    whole = one["sft"].seconds + one["sweep"].seconds + 8 * one["phase"].seconds
    assert one["run"].seconds == pytest.approx(whole)


def test_traffic_of_an_update_is_a_ring_of_its_gradients():
    config = load_config("qwen3-8b", [], [("sft.batch_tokens", "10000")])
    texts = TextLengths(np.full(100, 50), np.full(100, 150), "")
    made = RunPlan(config, model_sizes("Qwen/Qwen3-8B"), texts, RTX_6000_ADA, 4)
    sft = made.sft
    # 80 training texts of 200 tokens: 2 updates of all, 1 of a half and of a quarter; three rates
    gradients = 4 * num_adapter_weights(made.model, 64)
    assert sft.traffic == 3 * (2 + 1 + 1) * 2 * 3 * gradients


def test_longer_texts_and_larger_models_take_longer():
    times = [
        plan(name, 1, texts=assumed_lengths(2000, 100, text)).stages()[-1].seconds
        for name, text in (("Qwen/Qwen3-4B", 200), ("Qwen/Qwen3-4B", 400), ("Qwen/Qwen3-8B", 400))
    ]
    assert times == sorted(times) and times[1] > 1.8 * times[0]


def test_layers_are_sharded_where_a_model_does_not_fit_otherwise():
    assert not plan("Qwen/Qwen3-14B", 2).memory.sharded
    alone, two, six = (plan("Qwen/Qwen3-32B", cards) for cards in (1, 2, 6))
    assert alone.memory is None and alone.stages() == []
    assert two.memory.sharded and six.memory.sharded
    held = [max(stage.memory for stage in each.stages()) for each in (two, six)]
    assert all(memory <= RTX_6000_ADA.memory for memory in held)
    assert six.memory.policy_bytes < two.memory.policy_bytes < RTX_6000_ADA.memory
    # a token step gathers the layers: sampling is bound by the link
    whole = plan("Qwen/Qwen3-32B", 6, CHIPS["h100"])
    assert not whole.memory.sharded and whole.sweep.traffic < six.sweep.traffic / 1000


def test_passes_are_as_large_as_memory_allows():
    memory = plan("Qwen/Qwen3-14B", 1).memory
    fitting = memory.pass_tokens(64, 1 << 20, 1000)
    assert memory.update(64, fitting).fits and not memory.update(64, 2 * fitting).fits
    assert memory.pass_tokens(64, 4096, 1000) == 4096
    kept = dataclasses.replace(memory, again=0.5).update(64, 4096).activations
    whole, none = (dataclasses.replace(memory, again=a).update(64, 4096) for a in (1.0, 0.0))
    assert kept == pytest.approx((whole.activations + none.activations) / 2, rel=1e-6)


def test_lengths():
    texts = assumed_lengths(5000, 80, 300)
    assert len(texts) == 5000 and texts.texts.mean() == pytest.approx(300, rel=0.01)
    assert np.log(texts.texts).std() == pytest.approx(0.6, rel=0.02)
    assert len(texts.first(7000)) == 7000
    assert texts.first(7000).texts[5000:].tolist() == texts.texts[:2000].tolist()


def test_lengths_of_a_corpus(tmp_path):
    rows = [
        {"id": str(i), "prompt": "three words here", "text": "word " * 20 * (i + 1)}
        for i in range(3)
    ]
    file = tmp_path / "corpus.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = corpus_lengths([str(file)])
    assert texts.texts.tolist() == [28, 55, 82] and (texts.prompts > 12).all()


def test_the_command_prints_80_columns_and_writes_json(capsys, tmp_path):
    file = tmp_path / "plan.json"
    dispatch(["plan", "--cards=1,6", "--texts=2000", "--json", str(file), "--dft.phases", "2"])
    printed = capsys.readouterr().out
    assert all(len(line) <= 80 for line in printed.splitlines())
    for name in ("Qwen3-4B", "Qwen3-8B", "Qwen3-14B"):
        assert sum(line.startswith(name) for line in printed.splitlines()) == 8
    assert "assumed" in printed and "Simulated" in printed and "2,000 texts" in printed
    saved = json.loads(file.read_text())
    assert [(each["model"], each["cards"]) for each in saved["plans"]][:2] == [
        ("Qwen/Qwen3-4B", 1),
        ("Qwen/Qwen3-4B", 6),
    ]
    sft, sweep, phase, whole = (s["seconds"] for s in saved["plans"][0]["stages"])
    assert whole == pytest.approx(sft + sweep + 2 * phase)
    assert saved["card"]["matrix"] == RTX_6000_ADA.matrix


def test_what_does_not_fit_is_said(capsys):
    dispatch(["plan", "--preset=qwen3-8b", "--model.name=Qwen/Qwen3-32B", "--cards=1"])
    assert "does not fit 45 GiB" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options, named",
    [
        (["--card=rtx-9000"], "rtx-6000-ada"),
        (["--cards=1,x"], "--cards"),
        (["--cards=0"], "--cards"),
        (["--texts=3"], "--texts"),
        (["--measured=/nowhere.json"], "--measured"),
        (["--preset=qwen3-9b"], "qwen3-8b"),
        (["--dft.fases=2"], "dft.phases"),
        (["--sft.method=full"], "sft.method"),
    ],
)
def test_bad_options_are_named(options, named):
    with pytest.raises(UserError, match=named):
        dispatch(["plan", *options])


def test_shares_of_another_card_change_the_plan(tmp_path, capsys):
    results = json.loads(H100_RESULTS.read_text())
    for case in results["results"]:
        case["share_of_matrix_rate"] /= 2
    file = tmp_path / "gpu.json"
    file.write_text(json.dumps(results))
    options = ["plan", "--preset=qwen3-4b", "--cards=1", "--texts=2000", "--json"]
    dispatch([*options, str(tmp_path / "a")])
    dispatch([*options, str(tmp_path / "b"), "--measured", str(file)])
    before, after = (
        json.loads((tmp_path / name).read_text())["plans"][0]["stages"] for name in "ab"
    )
    assert after[0]["seconds"] > 1.7 * before[0]["seconds"]
    assert before[1]["seconds"] < after[1]["seconds"] < 2 * before[1]["seconds"]


def test_tiny_runs_are_bound_by_the_host():
    config = load_config("qwen3-8b")
    fast = dataclasses.replace(RTX_6000_ADA, layer_seconds=0.0, step_seconds=0.0)
    slow, free = (
        RunPlan(config, TINY, TEXTS, chip, 1).sft.seconds for chip in (RTX_6000_ADA, fast)
    )
    assert slow > 2 * free


def test_the_documented_table_is_what_the_command_prints(capsys):
    dispatch(["plan"])
    assert capsys.readouterr().out.rstrip() in (ROOT / "docs" / "scaling.md").read_text()
