"""The evaluate command: its files, and bad input as one line with nothing half-written."""

import json

import pytest
from evaluate_files import arguments, refused, save

from dftfast import evaluate


def test_several_systems(files, tmp_path, capsys):
    outputs, human = files
    evaluate.main(arguments(outputs, human, "--out", str(tmp_path / "out"), "--candidate", "dft"))
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert list(results["systems"]) == ["cold", "dft"] and results["candidate"] == "dft"
    assert results["systems"]["dft"]["mmd2"]["low"] <= results["systems"]["dft"]["mmd2"]["value"]
    assert {m["system"] for m in results["super_baseline"].values()} == {"cold"}
    assert (tmp_path / "out" / "report.html").exists()
    out = capsys.readouterr().out.splitlines()
    assert len(out) <= 20 and str(tmp_path / "out" / "report.html") in out[-1]
    assert all(len(line) <= 80 for line in out if str(tmp_path) not in line)
    assert "set" in out[0] or "told" in out[0] or "write" in out[0]


def test_a_second_report_does_not_embed_again(files, tmp_path, monkeypatch):
    from dftfast.model.embedder import FixedEmbedder

    outputs, human = files
    given = arguments(outputs, human, "--out", str(tmp_path / "out"))
    evaluate.main(given)
    first = (tmp_path / "out" / "results.json").read_text()
    encode, asked = FixedEmbedder.encode, []
    monkeypatch.setattr(
        FixedEmbedder,
        "encode",
        lambda self, texts, *rest: asked.append(len(texts)) or encode(self, texts, *rest),
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
    "second use of an id": (b'{"id": "p0", "text": "again"}', "id 'p0' has 2 texts and id"),
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
    other = save(tmp_path / "other.jsonl", sets(40, 1).select([*range(2), *range(30, 40)]))
    refused(arguments([outputs[0], other], human), "2 prompts of the human", monkeypatch, capsys)
    one = save(tmp_path / "one.jsonl", sets(1, 1))
    refused(arguments([one], human), "answered by one; at least 4 are needed", monkeypatch, capsys)
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
    "options, message",
    [
        (["--candidate", "best"], "--candidate: no file named 'best'"),
        (["--rounds", "5"], "--rounds: 5"),
        (["--bandwidth", "0"], "--bandwidth"),
        (["--limit", "2"], "--limit"),
        (["--sedd", "1"], "command line: unrecognized"),
    ],
)
def test_options(options, message, files, monkeypatch, capsys):
    outputs, human = files
    refused(arguments(outputs, human, *options), message, monkeypatch, capsys)
