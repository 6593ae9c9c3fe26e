"""Every form of row is read, and every bad line is named with its file, line and field."""

from __future__ import annotations

import gzip
import json
import logging

import pytest

from dftfast.data import load_corpus, prompt_messages
from dftfast.data import row_files as rows_module
from dftfast.data.load import with_token_counts
from dftfast.runtime.errors import UserError

GOOD = {"id": "a", "title": "Budget", "text": "The budget is attached \u2014 please read it."}


def write(tmp_path, *lines, name="corpus.jsonl"):
    path = tmp_path / name
    encoded = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"".join(line + b"\n" for line in encoded))
    return path


def test_corpus_form(tmp_path):
    path = write(
        tmp_path,
        {
            **GOOD,
            "use_case": "workplace email",
            "style": "plain",
            "genre": "email",
            "outline": ["budget", "please read"],
            "words": 9,
        },
        b"",
        {"id": 7, "prompt": "Greet", "text": "Hello there, friend."},
    )
    first, second = load_corpus([path])
    assert (first.id, first.prompt, first.use_case, first.style, first.genre) == (
        "a",
        "Budget",
        "workplace email",
        "plain",
        "email",
    )
    assert (
        first.outline == ("budget", "please read")
        and first.em_dashes_allowed
        and first.target_words == 7
    )
    assert second.id == "7" and not second.em_dashes_allowed and second.outline == ()
    assert first.target_tokens is None


def test_prompt_states_the_brief(tmp_path):
    path = write(
        tmp_path,
        {**GOOD, "use_case": "workplace email", "style": "plain", "outline": ["one", "two"]},
        {"id": "b", "prompt": "Greet", "genre": None, "target_words": 63, "text": "word"},
    )
    first, second = load_corpus([path])
    (message,) = prompt_messages(first)
    assert message["role"] == "user"
    assert message["content"].split("\n\n", 1)[1] == (
        "Prompt: Budget\nUse case: workplace email\nStyle: plain\nLength: about 5 words\n"
        "Em dashes: allowed\n"
        "Outline:\n- one\n- two"
    )
    assert prompt_messages(second)[0]["content"].endswith(
        "Prompt: Greet\nLength: about 60 words\nEm dashes: not allowed"
    )


def test_chat_and_completion_forms_are_verbatim(tmp_path):
    chat = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": "A"},
    ]
    path = write(
        tmp_path,
        {"messages": chat},
        {"prompt": "P", "completion": "C"},
        {"prompt": chat[:2], "completion": [{"role": "assistant", "content": "other"}]},
    )
    documents = load_corpus([path])
    assert [document.text for document in documents] == ["A", "C", "other"]
    assert [prompt_messages(document) for document in documents] == [
        chat[:2],
        [{"role": "user", "content": "P"}],
        chat[:2],
    ]
    assert len({document.id for document in documents}) == 3


def test_gzip_and_parquet_read_the_same(tmp_path):
    import pyarrow
    import pyarrow.parquet

    rows = [
        {**GOOD, "outline": ["x"]},
        {"id": "b", "title": "Two", "text": "Second text.", "outline": []},
    ]
    plain = load_corpus([write(tmp_path, *rows)])
    packed = tmp_path / "corpus.jsonl.gz"
    packed.write_bytes(gzip.compress((tmp_path / "corpus.jsonl").read_bytes()))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "corpus.parquet")
    assert load_corpus([packed]) == plain == load_corpus([tmp_path / "corpus.parquet"])


def test_target_tokens_max_words_and_limit(tmp_path):
    class Characters:
        def encode_batch(self, texts):
            return [list(text) for text in texts]

    rows = [{"id": str(i), "title": "t", "text": "word " * (i + 1)} for i in range(10)]
    path = write(tmp_path, *rows)
    documents = with_token_counts(load_corpus([path], max_words=6), Characters())
    assert [document.target_tokens for document in documents] == [5 * (i + 1) for i in range(6)]
    few = load_corpus([path], limit=4)
    assert len(few) == 4 and few == [
        document for document in load_corpus([path]) if document in few
    ]
    assert set(load_corpus([path], limit=3)) < set(few)


def test_words_count_any_script(tmp_path):
    path = write(tmp_path, {"title": "t", "text": "It's well-known: 北京大学 is old."})
    assert load_corpus([path])[0].target_words == 8


BAD_LINES = [
    (b'{"text": "x", ', "not valid JSON"),
    (b'"text"', "expected a JSON object, found a string"),
    (b'{"title": "t", "text": "caf\xe9"}', "not valid UTF-8"),
    ({"title": "t"}, "text: missing"),
    ({"title": "t", "text": "  \n"}, "text: empty"),
    ({"title": "t", "text": ["x"]}, "text: expected a string, found a list"),
    ({"title": "", "text": "x"}, "title: missing or empty"),
    ({"title": 3, "text": "x"}, "title: expected a string, found a number"),
    ({**GOOD, "id": "b", "outline": "one"}, "outline: expected a list of strings, found a string"),
    ({**GOOD, "id": 1.5}, "id: expected a string or an integer, found a number"),
    (
        {**GOOD, "id": "b", "target_words": "many"},
        "target_words: expected an integer, found a string",
    ),
    (
        {**GOOD, "id": "b", "em_dashes_allowed": 1},
        "em_dashes_allowed: expected true or false, found a number",
    ),
    (GOOD, "id: 'a' was used before"),
    (b'{"title": "t", "text": "half \\ud83d"}', "text: contains half of a surrogate pair"),
    (b"[" * 100_000, "nested too deeply"),
    ({"messages": []}, "messages: expected a list of messages, found an empty list"),
    (
        {"messages": [{"role": "user", "content": "q"}]},
        "messages: the last one must be the assistant's",
    ),
    (
        {"messages": [{"role": "assistant", "content": "a"}]},
        "messages: there must be a user's message",
    ),
    ({"messages": [{"role": "user"}]}, r"messages\[0\].content: missing"),
    ({"messages": ["q"]}, r"messages\[0\]: expected an object"),
    ({"prompt": "p", "completion": ""}, "completion: empty"),
    ({"prompt": "p", "completion": ["c"]}, "completion: expected a string, found a list"),
]


@pytest.mark.parametrize(
    "line, complaint", BAD_LINES, ids=[complaint[:40] for _, complaint in BAD_LINES]
)
def test_bad_line_is_named(tmp_path, caplog, line, complaint):
    path = write(tmp_path, GOOD, b"", line)
    with pytest.raises(UserError, match=complaint) as caught:
        load_corpus([path])
    assert str(caught.value).startswith(f"{path}, line 3: ") and "\n" not in str(caught.value)
    with caplog.at_level(logging.WARNING):
        assert [document.id for document in load_corpus([path], skip_bad_lines=True)] == ["a"]
    assert (
        f"{path}, line 3: " in caplog.text
        and "1 bad lines left out, 1 documents read" in caplog.text
    )


def test_overlong_line_is_skipped_without_losing_count(tmp_path, monkeypatch):
    monkeypatch.setattr(rows_module, "LONGEST_LINE", 1 << 20)
    path = write(tmp_path, b"x" * (3 << 20), GOOD, b"{")
    with pytest.raises(UserError, match=r"line 1: longer than 1 MiB.*and 1 more bad lines"):
        load_corpus([path])
    assert len(load_corpus([path], skip_bad_lines=True)) == 1


def test_rows_without_id_that_repeat_are_counted(tmp_path, caplog):
    path = write(
        tmp_path,
        {"title": "t", "text": "x"},
        {"title": "t", "text": "x"},
        {"title": "u", "text": "x"},
    )
    assert len(load_corpus([path])) == 2
    assert "1 rows repeat" in caplog.text


@pytest.mark.parametrize(
    "name, content, complaint",
    [
        ("corpus.jsonl", None, "no such file"),
        ("corpus.xlsx", b"a,b\n", "unknown kind of file"),
        ("corpus.jsonl", b"\n\n", "no usable text"),
        ("corpus.jsonl.gz", b"not gzip", "cannot be read"),
        ("corpus.jsonl.gz", gzip.compress(json.dumps(GOOD).encode() * 50)[:-12], "cannot be read"),
        ("corpus.parquet", b"not parquet", "not a readable parquet file"),
    ],
)
def test_bad_files_are_named(tmp_path, name, content, complaint):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=complaint) as caught:
        load_corpus([path])
    assert str(path) in str(caught.value)


def test_briefs_need_no_text(tmp_path):
    path = write(
        tmp_path,
        {"title": "Write", "target_words": 50, "em_dashes_allowed": True},
        {"messages": [{"role": "user", "content": "q"}]},
        {"prompt": [{"role": "user", "content": "r"}]},
    )
    first, second, third = load_corpus([path], needs_text=False)
    assert first.text == "" and first.target_words == 50 and first.em_dashes_allowed
    assert [prompt_messages(d)[0]["content"] for d in (second, third)] == ["q", "r"]
