"""The parts of a split are fixed by the ids and hold no near-duplicates of one another."""

from __future__ import annotations

import json
import logging
import random

import pytest

from dftfast.data import Document, load_corpus, near_duplicates, split_corpus
from dftfast.data.split import shingles
from dftfast.runtime.errors import UserError

VOCABULARY = [f"word{i}" for i in range(500)]


def text(seed: int, count: int = 60) -> str:
    return " ".join(random.Random(seed).choices(VOCABULARY, k=count))


def documents(count: int, offset: int = 0) -> list[Document]:
    return [
        Document(id=f"doc-{i}", text=text(i), prompt="p") for i in range(offset, offset + count)
    ]


def test_shares_and_stability():
    corpus = documents(3000)
    split = split_corpus(corpus, validation_share=0.1, held_out_share=0.2)
    assert abs(len(split.validation) - 300) < 80 and abs(len(split.held_out) - 600) < 110
    assert {d.id for part in (split.train, split.validation, split.held_out) for d in part} == {
        d.id for d in corpus
    }
    larger = split_corpus(
        corpus[::-1] + documents(500, offset=3000), validation_share=0.1, held_out_share=0.2
    )
    assert {d.id for d in split.held_out} <= {d.id for d in larger.held_out}
    assert {d.id for d in split.validation} <= {d.id for d in larger.validation}


def test_a_limited_corpus_is_split_like_any_other(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text(
        "".join(
            json.dumps({"id": d.id, "title": "t", "text": d.text}) + "\n" for d in documents(2000)
        )
    )
    split = split_corpus(load_corpus([path], limit=300), validation_share=0.2, held_out_share=0.2)
    assert min(len(split.train) - 120, len(split.validation) - 30, len(split.held_out) - 30) > 0


def test_separate_held_out_file():
    held_out = documents(50, offset=10_000)
    split = split_corpus(
        documents(500), validation_share=0.1, held_out_share=0.5, held_out=held_out
    )
    assert split.held_out == held_out and len(split.train) + len(split.validation) == 500


def test_near_duplicates_leave_training(caplog):
    held_out = documents(20, offset=10_000)
    copies = [
        Document(id=f"copy-{i}", text=f"Forwarded by me. {d.text.upper()}!", prompt="p")
        for i, d in enumerate(held_out)
    ]
    with caplog.at_level(logging.INFO):
        split = split_corpus(
            documents(500) + copies, validation_share=0.2, held_out_share=0.0, held_out=held_out
        )
    assert not any(d.id.startswith("copy") for d in split.train + split.validation)
    assert len(split.train) + len(split.validation) == 500
    assert "nearly repeat a held-out" in caplog.text


def test_training_is_kept_apart_from_tuning():
    corpus = documents(400)
    doubled = corpus + [
        Document(id=f"again-{d.id}", text=d.text + " and one more", prompt="p") for d in corpus
    ]
    split = split_corpus(doubled, validation_share=0.3, held_out_share=0.2)
    bodies = [
        {d.text.removesuffix(" and one more") for d in part}
        for part in (split.train, split.validation, split.held_out)
    ]
    assert not bodies[0] & bodies[1] and not bodies[0] & bodies[2] and not bodies[1] & bodies[2]


def test_against_brute_force():
    generator = random.Random(0)
    texts, reference = [], []
    for i in range(60):
        body = text(i, generator.randint(3, 80))
        reference.append(body)
        words = body.split()
        cut = generator.randint(0, len(words))
        texts.append(" ".join(words[:cut] + text(1000 + i, generator.randint(0, 60)).split()))
    expected = set()
    for i, a in enumerate(texts):
        for b in reference:
            x, y = shingles(a), shingles(b)
            if x and y and len(x & y) >= 0.5 * min(len(x), len(y)):
                expected.add(i)
    found = near_duplicates(texts, reference)
    assert found == expected and 5 < len(found) < 55


def test_boilerplate_alone_is_no_duplicate():
    signature = " ".join(VOCABULARY[:30])
    texts = [f"{text(i, 12)} {signature}" for i in range(120)]
    assert near_duplicates(texts[:60], texts[60:]) == set()
    assert near_duplicates(["", "one two"], ["one two", ""]) == {1}


@pytest.mark.parametrize(
    "count, shares, part",
    [(20, (0.2, 0.2), "validation"), (200, (0.2, 0.0), "held-out"), (60, (0.45, 0.45), "train")],
)
def test_too_small_to_split(count, shares, part):
    with pytest.raises(
        UserError, match=f"corpus too small: {count} documents leave [0-9] for the {part} part"
    ):
        split_corpus(documents(count), *shares)
