"""The evaluate command: its files, and bad input as one line with exit status 2 and nothing
half-written."""

import json
import sys

import pytest
from byte_model import save_byte_model
from chat_server import ChatServer, completion

from dftfast import evaluate
from dftfast.runtime.command import run


def save(path, texts, **columns):
    rows = [
        {"id": i, "text": t, "prompt": p, **{k: v[n] for k, v in columns.items()}}
        for n, (i, t, p) in enumerate(zip(texts.ids, texts.texts, texts.prompts))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def files(sets, tmp_path):
    at = [{"temperature": 0.5}] * 30
    human = save(tmp_path / "reference.jsonl", sets(30, 0))
    return [
        save(tmp_path / "cold.jsonl", sets(30, 1), sampler=at),
        save(tmp_path / "dft.jsonl", sets(30, 2)),
    ], human


def arguments(outputs, human, *more):
    return [
        *map(str, outputs),
        "--reference",
        str(human),
        "--embedder",
        "character-ngrams",
        "--rounds",
        "40",
        *more,
    ]


def test_several_systems(files, tmp_path, capsys):
    outputs, human = files
    evaluate.main(arguments(outputs, human, "--out", str(tmp_path / "out"), "--candidate", "dft"))
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert list(results["systems"]) == ["cold", "dft"] and results["candidate"] == "dft"
    assert results["systems"]["dft"]["mmd2"]["low"] <= results["systems"]["dft"]["mmd2"]["value"]
    assert {m["system"] for m in results["super_baseline"].values()} == {"cold"}
    assert (tmp_path / "out" / "report.html").exists()
    assert "Token L2" in capsys.readouterr().out


def test_a_second_report_does_not_embed_again(files, tmp_path, monkeypatch):
    from dftfast.model.embedder import CharacterNgrams

    outputs, human = files
    given = arguments(outputs, human, "--out", str(tmp_path / "out"))
    evaluate.main(given)
    first = (tmp_path / "out" / "results.json").read_text()
    encode, asked = CharacterNgrams.encode, []
    monkeypatch.setattr(
        CharacterNgrams,
        "encode",
        lambda self, texts, *more: asked.append(len(texts)) or encode(self, texts, *more),
    )
    evaluate.main(given)
    assert (
        set(asked) == {1} and (tmp_path / "out" / "results.json").read_text() == first
    )  # the probe only
    damaged = next((tmp_path / "out" / "embeddings").iterdir())
    damaged.write_bytes(damaged.read_bytes()[:50])
    evaluate.main(given)
    assert (
        sorted(set(asked)) == [1, 30] and (tmp_path / "out" / "results.json").read_text() == first
    )


def test_copies_from_the_corpus(files, tmp_path, sets):
    outputs, human = files
    corpus = tmp_path / "train.jsonl"
    corpus.write_text(
        "".join(json.dumps({"title": "t", "text": t}) + "\n" for t in sets(30, 1).texts)
    )
    evaluate.main(
        arguments(outputs, human, "--corpus", str(corpus), "--out", str(tmp_path / "out"))
    )
    systems = json.loads((tmp_path / "out" / "results.json").read_text())["systems"]
    assert systems["cold"]["copied"]["value"] == 1 > systems["dft"]["copied"]["value"]


def test_subset_of_the_prompts_in_another_order(files, sets, tmp_path, capsys):
    _, human = files
    few = save(tmp_path / "few.jsonl", sets(30, 3).select([7, 3, 20, 11, 5, 29, 0, 1]))
    evaluate.main(arguments([few], human))
    assert "BLEU" in capsys.readouterr().out


def test_million_character_line_is_a_text_like_any_other(files, sets, tmp_path):
    _, human = files
    texts = sets(30, 4)
    texts.texts[3] = "many words " * 100_000
    long = save(tmp_path / "long.jsonl", texts)
    evaluate.main(arguments([long], human, "--out", str(tmp_path / "out")))
    assert (
        json.loads((tmp_path / "out" / "results.json").read_text())["systems"]["long"][
            "length_mean"
        ]["value"]
        > 6000
    )


@pytest.fixture
def judged(monkeypatch, tmp_path):
    monkeypatch.setenv("DFTFAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GPT_API_KEY", "sk-secret-9")


def test_judges_and_detectors_in_one_run_and_again_for_nothing(files, judged, tmp_path, capsys):
    """Two judges and a detector on one server; the files hold their tables and no key."""

    def behave(body, number):
        if "document" in body:
            return {"p": 0.7 if "again" in body["document"] else 0.2}
        text = body["messages"][0]["content"]
        first, second = (len(text.split(f"<text_{x}>")[1]) for x in "AB")
        return completion("A" if (first > second) == (body["model"] == "long") else "B")

    outputs, human = files
    with ChatServer(behave) as server:
        (tmp_path / "d.yaml").write_text(
            json.dumps(
                {
                    "url": server.url,
                    "body": {"document": "{text}"},
                    "probability": "p",
                    "of": "human",
                }
            )
        )
        given = arguments(
            outputs,
            human,
            "--candidate",
            "dft",
            "--limit",
            "8",
            "--both-orders",
            "--dimensions",
            "--judge",
            f"gpt={server.url},long,1,2",
            "--judge",
            f"other={server.url},short",
            "--detector",
            f"d={tmp_path / 'd.yaml'}",
            "--out",
            str(tmp_path / "out"),
        )
        evaluate.main(given)
        assert len(server.requests) == 2 * 2 * 6 * 16 + 24
        first = json.loads((tmp_path / "out" / "results.json").read_text())
        evaluate.main(given)
        assert len(server.requests) == 2 * 2 * 6 * 16 + 24
        assert all(
            ("sk-secret-9" in headers["authorization"]) == (body["model"] == "long")
            for headers, body in zip(server.headers, server.requests)
            if "model" in body
        )
    again = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (
        again["systems"] == first["systems"]
        and again["judges"][0]["calls"]["spent"] == 0 < first["judges"][0]["calls"]["spent"]
    )
    gpt, other = first["judges"]
    for name in ("cold", "dft"):
        figures = first["systems"][name]
        assert figures["jmq"]["value"] == pytest.approx(
            (
                gpt["systems"][name]["figures"]["jmq"]["value"]
                + other["systems"][name]["figures"]["jmq"]["value"]
            )
            / 2
        )
        assert (
            figures["jmq_depth"]["low"]
            <= figures["jmq_depth"]["value"]
            <= figures["jmq_depth"]["high"]
        )
        assert (
            figures["called_human"]["human"] is not None
            and gpt["systems"][name]["verdicts"]["jmq_relevance"] == 8
        )
    assert (
        first["detectors"][0]["systems"]["dft"]["answers"] == 8
        and first["verdicts"]["jmq"]["against"] == "cold"
    )
    for file in ("report.html", "report.md", "report.json", "results.json"):
        text = (tmp_path / "out" / file).read_text()
        assert "sk-secret-9" not in text and "127.0.0.1" in text, file
    assert not any(
        b"sk-secret-9" in p.read_bytes() for p in (tmp_path / "cache").rglob("*") if p.is_file()
    )
    page = (tmp_path / "out" / "report.html").read_text()
    assert (
        "What judges prefer" in page
        and "What AI detectors say" in page
        and "Both orders had the same winner" in page
    )


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
    for more, message in (
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
            arguments(outputs, human, "--out", str(tmp_path / "out"), *more),
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


def test_a_system_that_writes_nothing(files, sets, tmp_path):
    """Every text empty: figures are undefined or extreme, and the report still says so."""
    _, human = files
    nothing = save(tmp_path / "nothing.jsonl", sets(30, 1, texts=[""] * 30))
    evaluate.main(
        arguments(
            [nothing],
            human,
            "--out",
            str(tmp_path / "out"),
            "--unseen-embedder",
            "character-ngrams",
        )
    )
    figures = json.loads((tmp_path / "out" / "results.json").read_text())["systems"]["nothing"]
    assert (
        figures["token_l2_1"]["value"] is None
        and figures["token_l2_1"]["reason"] == "no 1-grams"
        and figures["mmd"]["p"] < 0.05
    )
    assert "(empty)" in (tmp_path / "out" / "report.html").read_text()


BROKEN = {
    "cut JSON": (b'{"id": "p0", "text": "so', "line 3"),
    "invalid UTF-8": (b'{"id": "p2", "text": "\xff\xfe"}', "line 3"),
    "no text": (b'{"id": "p2"}', "line 3: text: missing"),
    "not an object": (b"[1, 2]", "line 3: expected a JSON object"),
    "second use of an id": (b'{"id": "p0", "text": "again"}', "line 3: id: 'p0' was used before"),
    "tokens of another type": (
        b'{"id": "p2", "text": "x", "token_ids": ["a"]}',
        "line 3: token_ids",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_line(case, files, tmp_path, monkeypatch, capsys):
    line, message = BROKEN[case]
    outputs, human = files
    lines = outputs[0].read_bytes().splitlines()
    lines[2] = line
    outputs[0].write_bytes(b"\n".join(lines) + b"\n")
    refused(arguments(outputs, human, "--out", str(tmp_path / "out")), message, monkeypatch, capsys)
    assert not (tmp_path / "out").exists()


def test_sets_that_cannot_be_compared(files, sets, tmp_path, monkeypatch, capsys):
    outputs, human = files
    fewer = save(tmp_path / "fewer.jsonl", sets(20, 1))
    refused(
        arguments([outputs[0], fewer], human),
        "fewer: must answer the same prompts",
        monkeypatch,
        capsys,
    )
    one = save(tmp_path / "one.jsonl", sets(1, 1))
    refused(arguments([one], human), "1 texts; at least 4", monkeypatch, capsys)
    blank = sets(30, 0)
    blank.texts[4] = "  "
    refused(
        arguments(outputs, save(tmp_path / "blank.jsonl", blank)),
        "1 empty texts, the first has id 'p4'",
        monkeypatch,
        capsys,
    )
    refused(arguments([tmp_path / "none.jsonl"], human), "none.jsonl", monkeypatch, capsys)
    (tmp_path / "empty.jsonl").write_text("")
    refused(
        arguments([tmp_path / "empty.jsonl"], human), "no generation in it", monkeypatch, capsys
    )


@pytest.mark.parametrize(
    "more, message",
    [
        (["--candidate", "best"], "--candidate: no file named 'best'"),
        (["--rounds", "5"], "--rounds: 5"),
        (["--bandwidth", "0"], "--bandwidth"),
        (["--limit", "2"], "--limit"),
        (["--sedd", "1"], "command line: unrecognized"),
    ],
)
def test_options(more, message, files, monkeypatch, capsys):
    outputs, human = files
    refused(arguments(outputs, human, *more), message, monkeypatch, capsys)


def refused(given, message, monkeypatch, capsys):
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["evaluate", *given])
    with pytest.raises(SystemExit) as exit_:
        run(evaluate.main)
    error = capsys.readouterr().err.splitlines()
    assert exit_.value.code == 2
    assert error[-1].startswith("error: ") and message in error[-1], error[-1]
