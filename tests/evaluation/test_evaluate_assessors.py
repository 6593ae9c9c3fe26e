"""Judges and detectors of the evaluate command: what they say, cost and cannot do."""

import json

import pytest
from byte_model import save_byte_model
from chat_server import ChatServer, completion
from evaluate_files import arguments, refused, save

from dftfast import evaluate


@pytest.fixture
def judged(monkeypatch, tmp_path):
    monkeypatch.setenv("DFTFAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GPT_API_KEY", "sk-secret-9")


def say(body, number):
    """Two judges, of long and of short texts, and a detector on one server."""
    if "document" in body:
        return {"p": 0.7 if "again" in body["document"] else 0.2}
    text = body["messages"][0]["content"]
    first, second = (len(text.split(f"<text_{x}>")[1]) for x in "AB")
    return completion("A" if (first > second) == (body["model"] == "long") else "B")


@pytest.fixture
def judged_twice(files, judged, tmp_path):
    """The results of two judges and a detector, and those of the same command again."""
    outputs, human = files
    with ChatServer(say) as server:
        detector = {"url": server.url, "body": {"document": "{text}"}, "probability": "p"}
        (tmp_path / "d.yaml").write_text(json.dumps(detector | {"of": "human"}))
        options = ["--candidate", "dft", "--limit", "8", "--both-orders", "--dimensions"]
        options += ["--judge", f"gpt={server.url},long,1,2"]
        options += ["--judge", f"other={server.url},short"]
        options += ["--detector", f"d={tmp_path / 'd.yaml'}", "--out", str(tmp_path / "out")]
        given, results = arguments(outputs, human, *options), []
        for _ in range(2):
            evaluate.main(given)
            assert len(server.requests) == 2 * 2 * 6 * 16 + 24
            results.append(json.loads((tmp_path / "out" / "results.json").read_text()))
        assert all(
            ("sk-secret-9" in headers["authorization"]) == (body["model"] == "long")
            for headers, body in zip(server.headers, server.requests)
            if "model" in body
        )
    return results


def test_judges_and_detectors_in_one_run_and_again_for_nothing(judged_twice, tmp_path):
    """The files hold their tables and no key."""
    first, again = judged_twice
    assert again["systems"] == first["systems"]
    assert again["judges"][0]["calls"]["spent"] == 0 < first["judges"][0]["calls"]["spent"]
    gpt, other = first["judges"]
    for name in ("cold", "dft"):
        estimates = first["systems"][name]
        jmq = [each["systems"][name]["figures"]["jmq"]["value"] for each in (gpt, other)]
        assert estimates["jmq"]["value"] == pytest.approx(sum(jmq) / 2)
        depth = estimates["jmq_depth"]
        assert depth["low"] <= depth["value"] <= depth["high"]
        assert estimates["called_human"]["human"] is not None
        assert gpt["systems"][name]["verdicts"]["jmq_relevance"] == 8
    assert first["detectors"][0]["systems"]["dft"]["answers"] == 8
    assert first["verdicts"]["jmq"]["against"] == "cold"
    for file in ("report.html", "report.md", "report.json", "results.json"):
        text = (tmp_path / "out" / file).read_text()
        assert "sk-secret-9" not in text and "127.0.0.1" in text, file
    kept = [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    assert not any(b"sk-secret-9" in p.read_bytes() for p in kept)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "What judges prefer" in page and "What AI detectors say" in page
    assert "Both orders had the same winner" in page


def test_models_on_this_machine_as_judge_and_detector(files, judged, tmp_path):
    model = save_byte_model(tmp_path / "model")
    outputs, human = files
    given = arguments(
        outputs[:1],
        human,
        "--limit",
        "24",
        "--judge",
        f"own={model}",
        "--detector",
        f"own={model}",
        "--out",
        str(tmp_path / "out"),
    )
    evaluate.main(given)
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    (judge,) = results["judges"]
    assert (
        judge["both_orders"]
        and judge["calls"] is None
        and judge["systems"]["cold"]["verdicts"] == {"jmq": 24}
    )
    assert (
        results["systems"]["cold"]["jmq"]["value"]
        == judge["systems"]["cold"]["figures"]["jmq"]["value"]
    )
    assert results["systems"]["cold"]["called_human"]["human"] == pytest.approx(0.95, abs=0.05)


def test_what_judges_and_detectors_cannot_do(files, sets, judged, tmp_path, monkeypatch, capsys):
    outputs, human = files
    apart = save(tmp_path / "apart.jsonl", sets(30, 5, prefix="q"))
    for options, message in (
        (
            ["--judge", "gpt=http://127.0.0.1:9,m", "--judge", "gpt=http://127.0.0.1:9,n"],
            "--judge: 'gpt' is used twice",
        ),
        (["--judge", "gpt=http://127.0.0.1:9,m", "--max-cost", "1"], "gpt has no prices"),
        (["--judge", "model"], "--judge: 'model' must begin"),
        (["--judge", f"local={tmp_path / 'none'}"], "none"),
        (["--detector", "d=a,b,c"], "names 3 models"),
        (["--detector", f"d={tmp_path / 'none.yaml'}"], "none.yaml: cannot be read"),
        (["--requests-per-minute", "0"], "--requests-per-minute: 0"),
    ):
        refused(
            arguments(outputs, human, "--out", str(tmp_path / "out"), *options),
            message,
            monkeypatch,
            capsys,
        )
    refused(
        arguments([apart], human, "--judge", "gpt=http://127.0.0.1:9,m"),
        "apart answers none of the prompts",
        monkeypatch,
        capsys,
    )
    assert not (tmp_path / "out").exists()
