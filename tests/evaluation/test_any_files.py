"""Files as people have them: names, fields, tables, chats, prompts that not all answered."""

import json

import pytest
from evaluate_files import arguments, refused, save

from dftfast import evaluate
from dftfast.evaluation import matching
from dftfast.evaluation.matching import copies_of_references, matched
from dftfast.evaluation.text_files import named_file


def results(folder):
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


@pytest.fixture
def run(files, tmp_path, monkeypatch):
    """Runs the command on files; the results and the warnings."""
    _, human = files

    def command(outputs, *options, reference=human):
        out = tmp_path / "out"
        evaluate.main([*arguments(outputs, reference, *options), "--out", str(out)])
        return results(out)

    return command


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_prompts_that_all_answer_are_compared_and_the_rest_counted(files, sets, run, caplog):
    (first, _), human = files
    fewer = save(human.parent / "fewer.jsonl", sets(30, 5).select([*range(29, 2, -1)]))
    found = run([first, fewer])
    assert "Compared on the 27 prompts that all answer (cold has 30, fewer has 27)" in caplog.text
    assert found["about"]["texts of cold"] == found["about"]["texts of fewer"] == 27
    assert "27 prompts that all answer" in (human.parent / "out" / "report.md").read_text()
    alone = run([fewer])
    assert alone["systems"]["fewer"]["mmd2"] == found["systems"]["fewer"]["mmd2"]


def test_rows_without_ids_are_independent_samples(sets, tmp_path, run, caplog):
    texts = sets(30, 4).texts
    plain = lines(tmp_path / "plain.jsonl", [{"text": t} for t in texts])
    found = run([plain])
    assert "independent samples" in caplog.text
    assert found["systems"]["plain"]["bleu"]["value"] is None
    assert found["about"]["prompt by prompt"] == "none"


@pytest.mark.parametrize("form", ["chat", "completion", "answer", "table"])
def test_forms_of_rows(form, sets, tmp_path, run):
    texts, ids = sets(30, 4).texts, [f"p{i}" for i in range(30)]
    options, name = [], "other"
    user = lambda i: {"role": "user", "content": f"Prompt {i}"}
    assistant = lambda t: {"role": "assistant", "content": t}
    if form == "chat":
        rows = [{"id": i, "messages": [user(i), assistant(t)]} for i, t in zip(ids, texts)]
    elif form == "completion":
        rows = [
            {"id": i, "prompt": [user(i)], "completion": [assistant(t)]} for i, t in zip(ids, texts)
        ]
    else:
        options = ["--text-field", "answer", "--id-field", "key"]
        rows = [{"key": i, "answer": t} for i, t in zip(ids, texts)]
    reference = tmp_path / "reference.jsonl"
    if options:
        human = [json.loads(line) for line in reference.read_text().splitlines()]
        reference = lines(
            tmp_path / "renamed.jsonl", [{"key": r["id"], "answer": r["text"]} for r in human]
        )
    if form == "table":
        path = tmp_path / "other.csv"
        quoted = (t.replace('"', '""') for t in texts)
        path.write_text(
            "key,answer\n" + "".join(f'{i},"{t}"\n' for i, t in zip(ids, quoted)), "utf-8-sig"
        )
    else:
        path = lines(tmp_path / "other.jsonl", rows)
    found = run([f"{name}={path}"], *options, reference=reference)
    mean = sum(len(t.split()) for t in texts) / 30
    assert found["systems"][name]["length_mean"]["value"] == pytest.approx(mean)
    assert found["systems"][name]["bleu"]["value"] is not None


def test_names(tmp_path):
    (tmp_path / "a=b.jsonl").write_text("")
    assert named_file("gpt=x/out.jsonl") == ("gpt", "x/out.jsonl")
    assert named_file(str(tmp_path / "a=b.jsonl"))[0] == "a=b"
    assert named_file("gpt[v2].jsonl") == ("gpt[v2]", "gpt[v2].jsonl")
    assert named_file("x\x1b[31m.jsonl.gz")[0] == "x\ufffd[31m"


def test_names_that_look_like_markup_and_options_between_files(files, tmp_path, capsys, sets):
    _, human = files
    odd = save(tmp_path / "gpt[v2].jsonl", sets(30, 3))
    other = save(tmp_path / "b.jsonl", sets(30, 4))
    given = [str(odd), "--reference", str(human), str(other)]
    evaluate.main([*given, "--embedder", "character-ngrams", "--rounds", "40"])
    out = capsys.readouterr().out
    assert "gpt[v2]" in out and out.count("p ") >= 2


def test_outputs_that_are_the_references_are_warned_of(files, tmp_path, run, caplog):
    _, human = files
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(human.read_bytes())
    found = run([copy])
    assert "copy: 30 of 30 outputs are the human text of their prompt" in caplog.text
    assert "30 of 30 outputs" in (tmp_path / "out" / "report.html").read_text()
    assert not found["findings"]["copy"]["told"]


def test_a_sampler_of_another_tool_is_no_reason_to_stop(files, tmp_path, sets, run):
    odd = [
        save(tmp_path / f"{k}.jsonl", sets(30, k + 4), sampler=[value] * 30)
        for k, value in enumerate([{"top_p": "0.9"}, {"top_p": [0.9]}])
    ]
    assert len(run(odd)["systems"]) == 2


BAD = {
    "token ids": (
        {"id": "p0", "text": "x", "token_ids": [2**21]},
        "line 1: token_ids: an id above",
    ),
    "huge token ids": ({"id": "p0", "text": "x", "token_ids": [2**70]}, "line 1: token_ids"),
    "title": ({"id": "p0", "text": "x", "title": 3}, "line 1: title: expected a string"),
    "no text": ({"id": "p0", "output": "x"}, "the fields are id, output (--text-field"),
    "no messages": ({"id": "p0", "messages": []}, "line 1: messages: expected a list"),
    "user last": ({"messages": [{"role": "user", "content": "x"}]}, "must be the assistant's"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_rows_are_one_line_with_file_and_line(case, files, tmp_path, monkeypatch, capsys):
    row, message = BAD[case]
    bad = lines(tmp_path / "bad.jsonl", [row])
    refused(arguments([bad], files[1]), message, monkeypatch, capsys)


def rows_of(count, start=0, text="text {}"):
    return [{"id": str(i), "text": text.format(i)} for i in range(start, start + count)]


def test_a_large_set_is_drawn_down_by_the_seed_and_a_limit_is_obeyed(monkeypatch):
    monkeypatch.setattr(matching, "MOST", 50)
    human, own = rows_of(200), {"a": [rows_of(200)[::-1]]}
    kept, few, notes = matched(own, human, None, 0)
    assert len(few) == 50 and [r["id"] for r in kept["a"][0]] == [r["id"] for r in few]
    assert "50 of 200 texts" in notes[0]
    assert [r["id"] for r in matched(own, human, None, 0)[1]] == [r["id"] for r in few]
    assert [r["id"] for r in matched(own, human, 10, 0)[1]] == [str(i) for i in range(10)]


def test_more_texts_than_memory_are_refused_with_what_they_need(monkeypatch):
    from dftfast.runtime.errors import UserError

    monkeypatch.setattr(matching.os, "sysconf", lambda name: 2**12)
    with pytest.raises(UserError, match="6,000 texts of a set need about 4 GiB, this machine has"):
        matched({"a": [rows_of(6000)]}, rows_of(6000), 6000, 0)


def test_copies_in_an_independent_sample():
    assert copies_of_references({"a": [rows_of(5, 900, "text 1")]}, rows_of(9)) == [
        "a: 5 of 5 outputs are one of the human texts."
    ]
    assert copies_of_references({"a": [rows_of(5, 0, "other")]}, rows_of(9)) == []
