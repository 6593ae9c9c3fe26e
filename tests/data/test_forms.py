"""The same corpus in the forms that people have it in is the same corpus."""

from __future__ import annotations

import csv
import gzip
import json

import pytest

from dftfast.data import load_corpus, prompt_messages
from dftfast.data.document import parse_row
from dftfast.runtime.errors import UserError

ROWS = 2000
QUESTIONS = [f"Write to {i}, “please”;\nsay why\u2028and when." for i in range(ROWS)]
ANSWERS = [f'Dear {i}, it\'s "late", naïve — 北京.\nYours\x0c,\tJ.' for i in range(ROWS)]


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def each(make):
    return [{"id": i, **make(q, a)} for i, (q, a) in enumerate(zip(QUESTIONS, ANSWERS))]


SHAPES = {
    "chat": each(lambda q, a: {"messages": [user(q), assistant(a)]}),
    "completion": each(lambda q, a: {"prompt": q, "completion": a}),
    "messages in completion form": each(
        lambda q, a: {"prompt": [user(q)], "completion": [assistant(a)]}
    ),
    "text and prompt": each(lambda q, a: {"prompt": q, "text": a}),
    "response": each(lambda q, a: {"prompt": q, "response": a, "source": "x"}),
    "question": each(lambda q, a: {"question": q, "answer": a}),
    "sharegpt": each(
        lambda q, a: {
            "conversations": [{"from": "human", "value": q}, {"from": "gpt", "value": a}],
            "system": "",
        }
    ),
    "alpaca": each(lambda q, a: {"instruction": q, "input": "", "output": a, "text": "all of it"}),
    "dolly": each(lambda q, a: {"instruction": q, "context": None, "response": a}),
    "parts": each(
        lambda q, a: {
            "messages": [
                {"role": "system", "content": ""},
                user([{"type": "text", "text": q[:9]}, {"type": "text", "text": q[9:]}]),
                assistant([{"type": "text", "text": a}]),
            ]
        }
    ),
    "NaN": each(lambda q, a: {"prompt": q, "completion": a, "title": float("nan"), "text": None}),
}
FLAT = SHAPES["completion"]


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def as_jsonl(rows, folder):
    (folder / "c.jsonl").write_text("\ufeff" + lines(rows), encoding="utf-8")
    return folder / "c.jsonl"


def as_raw_jsonl(rows, folder):
    text = "".join(json.dumps(row, ensure_ascii=False) + "\r\n" for row in rows)
    (folder / "c.jsonl").write_bytes(text.encode())
    return folder / "c.jsonl"


def as_gzip(rows, folder):
    (folder / "c.jsonl.gz").write_bytes(gzip.compress(lines(rows).encode()))
    return folder / "c.jsonl.gz"


def as_array(rows, folder):
    (folder / "c.json").write_text(json.dumps(rows, indent=1))
    return folder / "c.json"


def as_array_on_one_line(rows, folder):
    (folder / "c.jsonl").write_text(json.dumps(rows))
    return folder / "c.jsonl"


def as_table(ending, separator):
    def write(rows, folder):
        with open(folder / f"c.{ending}", "w", encoding="utf-8-sig", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]), delimiter=separator)
            table.writeheader()
            table.writerows(rows)
        return folder / f"c.{ending}"

    return write


def as_parquet(rows, folder):
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "c.parquet")
    return folder / "c.parquet"


def as_pandas(rows, folder):
    """What pandas makes of a column of integers with a gap: floats and NaN."""
    import pyarrow
    import pyarrow.parquet

    rows = [{**row, "id": float(row["id"]), "words": float("nan")} for row in rows]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "c.parquet")
    return folder / "c.parquet"


def as_dataset(rows, folder):
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_list(rows).save_to_disk(folder / "saved", num_shards=2)
    return folder / "saved"


def as_folder_of_shards(rows, folder):
    for number, part in enumerate((rows[:700], rows[700:])):
        (folder / f"train-{number:05d}.jsonl").write_text(lines(part))
    return folder


def as_hub(rows, folder):
    pytest.importorskip("datasets")
    (folder / "hub").mkdir()
    (folder / "hub" / "train.jsonl").write_text(lines(rows))
    return f"hf:{folder / 'hub'}:train"


FILES = {
    "jsonl": as_jsonl,
    "raw jsonl": as_raw_jsonl,
    "gzip": as_gzip,
    "array": as_array,
    "array on one line": as_array_on_one_line,
    "csv": as_table("csv", ","),
    "tsv": as_table("tsv", "\t"),
    "parquet": as_parquet,
    "pandas": as_pandas,
    "datasets": as_dataset,
    "folder": as_folder_of_shards,
    "hub": as_hub,
}


def check(documents):
    assert [document.id for document in documents] == [str(i) for i in range(ROWS)]
    assert [document.text for document in documents] == ANSWERS
    assert [prompt_messages(document) for document in documents] == [[user(q)] for q in QUESTIONS]


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_of_any_shape_are_the_same_corpus(shape, tmp_path):
    check(load_corpus([as_jsonl(SHAPES[shape], tmp_path)]))


@pytest.mark.parametrize("file", FILES)
def test_files_of_any_kind_are_the_same_corpus(file, tmp_path):
    check(load_corpus([FILES[file](FLAT, tmp_path)]))


def test_nested_rows_in_tables_that_hold_them(tmp_path):
    for write in (as_parquet, as_dataset, as_array):
        folder = tmp_path / write.__name__
        folder.mkdir()
        check(load_corpus([write(SHAPES["chat"], folder)]))
    cells = [{**row, "messages": json.dumps(row["messages"])} for row in SHAPES["chat"]]
    check(load_corpus([as_table("csv", ",")(cells, tmp_path)]))


def test_a_text_alone_gets_a_brief_of_its_length(tmp_path, caplog):
    (tmp_path / "c.jsonl").write_text(lines({"text": a} for a in ANSWERS))
    documents = load_corpus([tmp_path / "c.jsonl"])
    assert [document.text for document in documents] == ANSWERS
    shown = prompt_messages(documents[0])[0]["content"]
    assert "Prompt: A text like the others" in shown and "Length: about" in shown
    assert f"{ROWS} of {ROWS} rows have a text and nothing that asks for it" in caplog.text


def test_a_prompt_means_the_same_with_and_without_its_text():
    asked = {"prompt": "Ask about the deck."}
    rows = (asked, asked | {"completion": "Jeff, ..."}, asked | {"text": "Jeff, ..."})
    shown = [prompt_messages(parse_row(row, needs_text=False)) for row in rows]
    assert shown == [[user("Ask about the deck.")]] * 3
    brief = prompt_messages(parse_row(asked | {"use_case": "email", "text": "Jeff, ..."}))
    assert "Prompt: Ask about the deck.\nUse case: email" in brief[0]["content"]


@pytest.mark.parametrize(
    "row, shown, text",
    [
        ({"prompt": "", "title": "Tea", "text": "A text."}, "Prompt: Tea\n", "A text."),
        ({"title": "x", "text": "y", "target_words": 90.0}, "about 90 words", "y"),
        ({"instruction": "Sum", "input": "1, 2", "output": "3"}, "Sum\n\n1, 2", "3"),
        ({"conversations": [{"from": "user", "value": "Q"}, {"from": "bot", "value": "A"}]}, *"QA"),
    ],
)
def test_single_rows(row, shown, text):
    document = parse_row(row)
    assert shown in prompt_messages(document)[-1]["content"] and document.text == text


def test_tools_and_system_turns_are_passed_on():
    call = [{"type": "function", "function": {"name": "w", "arguments": {}}}]
    messages = [
        {"role": "system", "content": "Be brief."},
        user("Weather?"),
        {"role": "assistant", "content": None, "tool_calls": call},
        {"role": "tool", "content": "sunny"},
        assistant("It is sunny."),
    ]
    document = parse_row({"messages": messages})
    assert document.text == "It is sunny." and document.prompt == "Weather?"
    expected = [*messages[:2], {"role": "assistant", "content": "", "tool_calls": call}]
    assert prompt_messages(document) == [*expected, messages[3]]
    system = parse_row({"instruction": "Hi", "output": "Yes", "system": "Be brief."})
    assert prompt_messages(system) == [messages[0], user("Hi")]


def test_pandas_numbers_are_integers(tmp_path):
    rows = [
        {"id": 1.0, "title": "x", "text": "y", "target_words": 90.0},
        {"id": 2.0, "title": "x", "text": "z", "target_words": float("nan")},
    ]
    first, second = load_corpus([as_parquet(rows, tmp_path)])
    assert (first.id, second.id) == ("1", "2")
    assert (first.target_words, second.target_words) == (90, 1)


@pytest.mark.parametrize(
    "name, content, complaint",
    [
        ("a.jsonl", '{"title": "x", "text": "y"}\n'.encode("utf-16"), "UTF-16.*save it as UTF-8"),
        ("a.csv", "title,text\nx,y\n".encode("utf-16"), "UTF-16.*save it as UTF-8"),
        ("a.csv", b"title,text\nx,y,z\n", "line 2: not the 2 cells"),
        ("a.csv", b'title,text\nx,"y\n', "not a readable table"),
        ("a.json", b'[{"title": "x"}, ', "begins as a JSON array"),
        ("a.jsonl", b'{"body": "x", "tag": 1}\n', "this one has body, tag .docs/corpus.md"),
        (
            "a.jsonl",
            b'{"conversations": [{"from": "x", "value": "y"}]}',
            r"conversations\[0\].from",
        ),
        ("a.jsonl", b'{"messages": [{"role": "user", "content": [{"type": "image"}]}]}', "image"),
    ],
)
def test_what_is_wrong_is_said_with_the_form(name, content, complaint, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=complaint):
        load_corpus([tmp_path / name])


@pytest.mark.parametrize(
    "name, complaint",
    [("hf:stories", "hf:NAME:SPLIT"), ("hf:/no/such/folder:train", "did not provide it")],
)
def test_a_data_set_that_is_not_there(name, complaint):
    pytest.importorskip("datasets")
    with pytest.raises(UserError, match=complaint):
        load_corpus([name])


def test_splits_of_a_saved_dictionary_are_named(tmp_path):
    datasets = pytest.importorskip("datasets")
    part = datasets.Dataset.from_list(FLAT[:10])
    datasets.DatasetDict({"train": part, "test": part}).save_to_disk(tmp_path / "saved")
    with pytest.raises(UserError, match="holds the splits test, train"):
        load_corpus([tmp_path / "saved"])
    assert len(load_corpus([tmp_path / "saved" / "train"])) == 10
