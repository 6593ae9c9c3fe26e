"""The command: places, formats, statuses, what is known and what is ignored."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from dftfast.check import main
from dftfast.runtime.errors import UserError
from dftfast.writing import assert_passes, check
from dftfast.writing.checked_texts import CheckedText, prose, read_texts

BAD = "A line.\n\nHello 😀 日本, we delve into\u200b it.\n"


def call(*arguments):
    """Status of the command."""
    try:
        main([str(each) for each in arguments])
    except SystemExit as stop:
        return stop.code
    return 0


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(BAD, encoding="utf-8")
    return path


def test_text_says_where(file, capsys):
    assert call(file) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{file}:3:9: error foreign-script: ")
    assert lines[1].startswith(f"{file}:3:16: error model-phrases: 'delve into'")
    assert lines[2].startswith(f"{file}:3:26: error characters: zero-width space")
    assert lines[-1] == "1 texts: 3 error"


def test_json_has_offsets(file, capsys):
    call(file, "--format", "json")
    rows = json.loads(capsys.readouterr().out)["findings"]
    assert [row["excerpt"] for row in rows] == ["日本", "delve into", "\u200b"]
    assert [BAD[row["start"] : row["end"]] for row in rows] == [row["excerpt"] for row in rows]
    assert rows[2]["replacement"] == ""


def test_sarif_counts_code_points(file, tmp_path):
    report = tmp_path / "out.sarif"
    assert call(file, "--format", "sarif", "--report", report) == 1
    [run] = json.loads(report.read_text(encoding="utf-8"))["runs"]
    assert run["columnKind"] == "unicodeCodePoints"
    [place] = run["results"][1]["locations"]
    assert place["physicalLocation"]["region"] == {
        "startLine": 3,
        "startColumn": 16,
        "endLine": 3,
        "endColumn": 26,
    }
    known = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert {result["ruleId"] for result in run["results"]} <= known


def test_junit_fails_texts_with_errors(file, tmp_path, capsys):
    (tmp_path / "good.txt").write_text("A line.\n", encoding="utf-8")
    assert call(tmp_path, "--format", "junit") == 1
    suite = ElementTree.fromstring(capsys.readouterr().out)
    assert (suite.get("tests"), suite.get("failures"), len(suite)) == ("2", "1", 2)
    assert "delve into" in suite.find("testcase/failure").text


def test_github_annotations_are_escaped(tmp_path, capsys):
    path = tmp_path / "a,b.txt"
    path.write_text("We delve into 100%.\n", encoding="utf-8")
    call(path, "--format", "github")
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("::error file=")
    assert "a%2Cb.txt,line=1,col=4,title=model-phrases::" in line


def test_statuses(tmp_path, file):
    good = tmp_path / "good.txt"
    good.write_text("Not just a line, but two.\n", encoding="utf-8")
    assert call(good) == 0
    assert call(good, "--fail-on", "warning") == 1
    assert call(file, "--fail-on", "never") == 0
    for arguments in ([], [tmp_path / "none.txt"], [file, "--rules", good], [tmp_path / "x.pdf"]):
        with pytest.raises(UserError):
            call(*arguments)


def test_known_findings_stay_known_when_they_move(file, tmp_path, capsys):
    known = tmp_path / "known.json"
    assert call(file, "--write-baseline", known) == 0
    file.write_text("One more line.\n\n" + BAD, encoding="utf-8")
    assert call(file, "--baseline", known) == 0
    file.write_text(BAD + "\nWe delve into it again.\n", encoding="utf-8")
    capsys.readouterr()
    assert call(file, "--baseline", known) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 texts: 1 error"
    with pytest.raises(UserError, match="no file of known findings"):
        call(file, "--baseline", file)


def test_comments_ignore_their_line_the_next_or_all():
    wrong = "We delve into it."
    names = lambda text: [f.rule for f in check(text)]
    assert names(f"{wrong} <!-- dftfast-ignore: model-phrases -->") == []
    assert names(f"<!-- dftfast-ignore -->\n{wrong}\n{wrong}") == ["model-phrases"]
    assert names(f"<!-- dftfast-ignore: not-but -->\n{wrong}") == ["model-phrases"]
    assert names(f"{wrong}\n\n<!-- dftfast-ignore-file: model-phrases -->") == []
    with pytest.raises(UserError, match="line 2: notbut: no such rule"):
        check("One.\n<!-- dftfast-ignore: notbut -->")


def test_rows_are_held_against_their_briefs(tmp_path, capsys):
    rows, briefs = tmp_path / "rows.jsonl", tmp_path / "briefs.jsonl"
    row = {"id": "a", "title": "A ride", "text": "We rode out early that day, and it was cold."}
    rows.write_text(json.dumps(row) + "\n", encoding="utf-8")
    brief = {"id": "a", "title": "A ride", "target_words": 50, "outline": ["the old windmill"]}
    briefs.write_text(json.dumps(brief) + "\n", encoding="utf-8")
    assert call(rows, "--fail-on", "warning") == 0
    assert call(rows, "--briefs", briefs, "--fail-on", "warning") == 1
    assert f"{rows}:1:1: warning length-asked: 10 words" in capsys.readouterr().out
    rows.write_text("{}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"rows\.jsonl:1: text"):
        call(rows)


def test_code_and_wrapping_are_no_writing(tmp_path):
    path = tmp_path / "page.md"
    line = "The first line of this is as long as it may be and then it goes"
    text = f"{line}\non. `delve into`\n```\nWe delve into it.\n```\n- a\n- b\n"
    path.write_text(text, encoding="utf-8")
    [source] = read_texts([path])
    assert len(source.text) == len(text)
    assert "delve" not in source.text
    assert source.place(text.index("on. ")) == (2, 1)
    assert source.place(text.index("- b")) == (7, 1)
    from dftfast.writing.passage import Passage

    first = Passage(source.text).sentences[0]
    assert source.excerpt(first.start, first.end) == f"{line}\non."


def test_tables_and_where_links_go_are_no_writing():
    assert prose("a\n| b | c |\n", ".md") == "a\n" + " " * 9 + "\n"
    text = "See [we delve](a.md#delve-into) at https://a.org/delve-into (now).\n"
    assert prose(text, ".md") == text.replace("(a.md#delve-into)", " " * 17).replace(
        "https://a.org/delve-into", " " * 24
    )


def test_text_files_keep_their_code():
    assert prose("a `b` c\n", ".txt") == "a `b` c\n"
    assert CheckedText("p", "ab\ncd").place(4) == (2, 2)


def test_the_helper_for_tests_shows_every_finding():
    assert_passes("A plain line.")
    assert_passes("Not just one, but two.")
    with pytest.raises(AssertionError, match=r"text:1:4: error model-phrases: 'delve into'"):
        assert_passes("We delve into it.")
    with pytest.raises(AssertionError, match="not-but"):
        assert_passes("Not just one, but two.", fail_on="warning")
