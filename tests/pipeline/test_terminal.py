"""What a run says on the terminal: time left, and an ending that fits a screen."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from dftfast.evaluation import METRICS, Estimate
from dftfast.pipeline.ending import ROWS, ending, rows, sentence
from dftfast.pipeline.pace import Pace, Work, minutes_text
from dftfast.rollout import Sampler
from dftfast.runtime.files import write_json

WORK = {"sft": Work(trained=100), "sweep": Work(sampled=400), "dft": Work(200, 1000)}
LONG = "lora lr=0.003 data=1 T=0.9 top-p=1 top-k=0"


def estimate(value: float) -> dict:
    return Estimate(value=value, low=value / 2, high=value * 2, human=value / 4).to_json()


@pytest.fixture
def results():
    metrics = [metric for metric in METRICS if not metric.startswith("judge")]
    words = ["better", "level", "worse"]
    return {
        "systems": {
            LONG: {metric: estimate(0.2) for metric in metrics},
            "baseline spin": {metric: estimate(0.15) for metric in metrics},
            "dft": {metric: estimate(0.1) for metric in metrics},
        },
        "verdicts": {
            metric: {"against": LONG, "verdict": words[i % 3]} for i, metric in enumerate(metrics)
        },
        "findings": {
            "dft": {
                "sentence": "dft does not write like the human texts. " + 8 * "It is " + "so.",
                "reasons": [{"text": f"reason {i} " + 30 * "word "} for i in range(5)],
            }
        },
    }


def test_time_left_is_known_once_both_rates_are(tmp_path):
    pace = Pace(tmp_path)
    assert pace.left(["sft", "sweep", "dft"], WORK) is None
    pace.finished("sft", 50.0)
    assert pace.left(["sweep", "dft"], WORK) is None
    pace.finished("sweep", 40.0)
    assert Pace(tmp_path).left(["dft", "report"], WORK) == pytest.approx(200 * 0.5 + 1000 * 0.1)


@pytest.mark.parametrize(
    "seconds, text", [(3, "3 s"), (89, "89 s"), (150, "2 min"), (5400, "1 h 30 min")]
)
def test_durations_in_words(seconds, text):
    assert minutes_text(seconds) == text


def test_the_sentence_counts_the_verdicts_of_the_report(results):
    assert sentence(results).startswith("DFT is better than the best of 1 SFT settings on ")
    results["verdicts"] = {"mmd": {"against": LONG, "verdict": "better"}}
    assert sentence(results).endswith("on 1 of 1 metrics, level on 0, worse on 0.")


def test_the_ending_fits_a_screen(results, tmp_path):
    write_json(tmp_path / "results.json", results)
    dft = SimpleNamespace(temperature=1.0, min_p=0.01)
    run = SimpleNamespace(path=tmp_path, config=SimpleNamespace(dft=dft), max_tokens=99)
    lines = ending(run, Sampler(1.0, min_p=0.01)).splitlines()
    assert len(lines) <= 20
    assert all(len(line) <= 80 for line in lines if str(tmp_path) not in line)
    assert len(rows(results)) == 1 + len(ROWS)
    text = "\n".join(lines)
    assert "does not write like the human texts" in text and "1. reason 0" in text
    assert "min-p 0.01" in text and str(tmp_path / "merged") in text
