"""`dftfast prepare` from a folder to a corpus that the other commands read."""

from __future__ import annotations

import json
import re

import pytest
from byte_model import save_byte_model
from prepare.stories import FRAME, story, write_stories

from dftfast.data import load_corpus
from dftfast.generate import main as generate
from dftfast.prepare.arguments import main
from dftfast.prepare.rule_names import RULES
from dftfast.runtime.errors import UserError


def prepare(*arguments):
    """The rows that the command writes."""
    main(list(arguments))
    out = arguments[arguments.index("--out") + 1]
    return [json.loads(line) for line in open(out, encoding="utf-8")]


@pytest.fixture
def folder(tmp_path):
    return write_stories(tmp_path / "docs", 60)


def test_a_folder_becomes_a_corpus(folder, tmp_path):
    out = tmp_path / "corpus.jsonl"
    rows = prepare(str(folder), "--out", str(out))
    assert [row["text"] for row in rows] == [story(i) for i in range(60)]
    for row, document in zip(rows, load_corpus([out])):
        assert document.id == row["id"] and document.prompt == row["title"]
        assert document.outline == tuple(row["outline"])
        assert row["brief"] == "extractive" and row["language"] == "en"
        assert all(point in row["text"] for point in row["outline"])
        assert row["words"] == document.target_words
    assert rows == prepare(str(folder), "--out", str(tmp_path / "again" / "corpus.jsonl"))
    assert not list(tmp_path.glob(".*"))  # nothing is left of the work


def test_generate_reads_it(folder, tmp_path):
    out = tmp_path / "corpus.jsonl"
    prepare(str(folder), "--out", str(out))
    model = save_byte_model(tmp_path / "model")
    to = tmp_path / "generations.jsonl"
    flags = ["--max-tokens", "2", "--limit", "3"]
    generate(["--model", str(model), "--prompts", str(out), "--out", str(to), *flags])
    assert len(to.read_text().splitlines()) == 3


def test_a_corpus_in_its_own_folder_is_no_source_of_it(folder):
    first = prepare(str(folder), "--out", str(folder / "corpus.jsonl"))
    assert prepare(str(folder), "--out", str(folder / "corpus.jsonl")) == first
    counts = json.loads((folder / "prepared.json").read_text())
    assert counts["read"] == 60 and not counts["skipped"]


def test_moved_files_keep_their_ids(folder, tmp_path):
    ids = {row["id"] for row in prepare(str(folder), "--out", str(tmp_path / "a.jsonl"))}
    moved = folder.rename(tmp_path / "moved")
    assert {r["id"] for r in prepare(str(moved), "--out", str(tmp_path / "b.jsonl"))} == ids


def test_everything_removed_is_in_the_report_and_its_files(folder, tmp_path):
    (folder / "short.txt").write_text("Too short.")
    (folder / "copy.txt").write_text(story(7).upper())
    (folder / "photo.png").write_bytes(b"\x89PNG")
    rows = prepare(str(folder), "--out", str(tmp_path / "corpus.jsonl"))
    counts = json.loads((tmp_path / "prepared.json").read_text())
    assert counts["read"] == 62 and counts["rows"] == len(rows) == 60
    assert counts["lines"] == {"repeated": 240}
    assert counts["left_out"] == {"short": 1} and counts["duplicates"] == 1
    assert counts["skipped"] == {"unknown kind of file (.png)": 1}
    assert sum(counts["languages"].values()) == sum(counts["words"].values()) == 60
    removed = [json.loads(line) for line in (tmp_path / "removed.jsonl").read_text().splitlines()]
    assert len(removed) == 61 and sum(len(row["removed"]) for row in removed) == 240
    [short] = [row for row in removed if row["left_out"]]
    assert short["text"] == "Too short." and short["source"].endswith("short.txt")
    page = (tmp_path / "prepared.html").read_text()
    assert page.count('class="diff"') == 50 and page.count('class="row"') == 50
    assert page.count(f'<span class="gone">{FRAME}') > 40
    for said in ("photo.png", "copy.txt", "0007.txt", "Look at this first", "60 rows are few"):
        assert said in page


def test_the_page_shows_texts_as_texts(tmp_path):
    folder = write_stories(tmp_path / "docs", 3)
    (folder / "evil.txt").write_text(f"<script>alert(1)</script> & more\n{story(50)}")
    prepare(str(folder), "--out", str(tmp_path / "corpus.jsonl"))
    page = (tmp_path / "prepared.html").read_text()
    assert "<script>" not in page and "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in page


def test_a_quarter_of_the_outlines_is_empty_in_every_prefix(tmp_path):
    write_stories(tmp_path / "docs", 600, frame=False)
    rows = prepare(str(tmp_path / "docs"), "--out", str(tmp_path / "corpus.jsonl"))
    empty = [not row["outline"] for row in rows]
    for prefix in (100, 200, 400, 600):
        spread = (0.25 * 0.75 / prefix) ** 0.5
        assert abs(sum(empty[:prefix]) / prefix - 0.25) < 4 * spread


def test_limit_is_a_trial_of_the_same_rows(folder, tmp_path):
    every = prepare(str(folder), "--out", str(tmp_path / "all.jsonl"))
    some = prepare(str(folder), "--out", str(tmp_path / "some.jsonl"), "--limit", "20")
    assert len(some) == 20 and [row for row in every if row in some] == some


def test_rules_can_be_turned_off(folder, tmp_path):
    options = ["--without", "repeated", "--without", "navigation"]
    rows = prepare(str(folder), "--out", str(tmp_path / "corpus.jsonl"), *options)
    assert rows[0]["text"] == f"{FRAME}\nHome | Stories | About us\n{story(0)}"


def test_a_row_keeps_what_it_brought(tmp_path):
    given = {"title": "Boats", "use_case": "tale", "style": "calm", "outline": ["a lamp"]}
    lines = [json.dumps({"id": i, "body": story(i), "genre": "story", **given}) for i in range(9)]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    options = ["--text-field", "body", "--out", str(tmp_path / "out" / "corpus.jsonl")]
    rows = prepare(str(tmp_path / "in.jsonl"), *options)
    assert len(rows) == 9 and rows[3]["source_id"] == "3" and rows[3]["genre"] == "story"
    assert all(row.items() >= given.items() for row in rows)


def test_lines_made_to_keep_a_rule_busy(folder, tmp_path):
    """Lines of a quarter of a megabyte on which a careless expression would be at work for days."""
    units = ("x", "a-", "a.", "a@", "1-", "((", "“„", "1 2 ", ": ", "share on ", "© ", "f:", "A/A")
    for i, unit in enumerate(units):
        (folder / f"busy-{i}.txt").write_text(f"{story(100 + i)}\n{unit * (2**18 // len(unit))}")
    for folder, off in ((tmp_path / "a", ()), (tmp_path / "b", RULES)):
        options = [word for rule in off for word in ("--without", rule)]
        options += ["--mask", "--out", str(folder / "corpus.jsonl")]
        assert len(prepare(str(tmp_path / "docs"), *options)) >= 60


PRIVATE = (
    "Write to ann.miller@example.org or call (713) 853-7459 or +44 20 7946 0958.",
    "Pay 4111 1111 1111 1111 or DE89 3704 0044 0532 0130 00 from 192.168.0.17 by 10:45.",
    "In 2002 it was $1,200.00 for order 1234567890123 and page 1-2-3.",
)


def test_masks(tmp_path):
    (tmp_path / "a.txt").write_text(story(1) + "\n" + "\n".join(PRIVATE))
    [row] = prepare(str(tmp_path / "a.txt"), "--mask", "--out", str(tmp_path / "corpus.jsonl"))
    assert row["text"].split("\n")[-3:] == [
        "Write to [e-mail] or call [phone] or [phone].",
        "Pay [card number] or [IBAN] from [IP address] by 10:45.",
        PRIVATE[2],
    ]
    counts = json.loads((tmp_path / "prepared.json").read_text())["masked"]
    kinds = {"e-mail": 1, "phone": 2, "card number": 1, "IBAN": 1, "IP address": 1}
    assert counts == kinds
    # nor are parts of them in the brief, which takes the text apart
    outline = " ".join(row["outline"])
    assert not {"7946", "DE89", "0044", "192", "4111", "7459"} & set(re.findall(r"\w+", outline))
    [row] = prepare(str(tmp_path / "a.txt"), "--out", str(tmp_path / "corpus.jsonl"))
    assert PRIVATE[0] in row["text"]


def test_tokens_are_counted_by_a_tokenizer(folder, tmp_path):
    model = str(save_byte_model(tmp_path / "model"))
    rows = prepare(str(folder), "--tokenizer", model, "--out", str(tmp_path / "corpus.jsonl"))
    assert all(row["tokens"] == len(row["text"].encode()) for row in rows)


@pytest.mark.parametrize(
    "options, complaint",
    [
        (["--out", "x.csv"], r"--out: x.csv must be a file that ends in .jsonl"),
        (["--out", "x.jsonl", "--max-words", "3"], "--max-words: must be at least 20"),
        (["--out", "x.jsonl", "--min-words", "900"], "--min-words: must be between 1 and"),
        (["--out", "x.jsonl", "--limit", "0"], "--limit: must be at least 1"),
        (
            ["--out", "x.jsonl", "--without", "shrt"],
            "--without: no rule is called 'shrt'; .* short",
        ),
        (["--out", "x.jsonl", "--split-at", "("], "--split-at: not a regular expression"),
        (
            ["--out", "x.jsonl", "--languages", "xx"],
            r"nothing is left of 60 documents \(language 60",
        ),
    ],
)
def test_bad_options_are_one_line(folder, tmp_path, monkeypatch, options, complaint):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=complaint):
        main([str(folder), *options])
    assert not (tmp_path / "x.jsonl").exists()


def test_nothing_to_read_says_why(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    expected = re.escape("no document in 1 files (unknown kind of file (.png): 1)")
    with pytest.raises(UserError, match=expected):
        main([str(tmp_path), "--out", str(tmp_path / "out" / "x.jsonl")])


def test_a_missing_library_is_named(folder, tmp_path, monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        "dftfast.prepare.installed.find_spec", lambda n: None if n == "docx" else real(n)
    )
    with pytest.raises(UserError, match=r"needs docx: pip install 'dftfast\[prepare\]'"):
        main([str(folder), "--out", str(tmp_path / "x.jsonl")])
