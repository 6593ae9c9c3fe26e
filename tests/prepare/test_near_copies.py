"""Near-duplicates: one of each group is kept, whoever wrote the signatures."""

from __future__ import annotations

import random

from dftfast.data.split import near_duplicates
from dftfast.prepare import Piece
from dftfast.prepare.near_copies import Signatures, find_duplicates

VOCABULARY = [a + b for a in "bcdfghklmnprst" for b in ("an", "er", "ing", "ow", "ate", "ish")]


def text(rng, words=120):
    return " ".join(rng.choices(VOCABULARY, k=words))


def edited(text, rng, share):
    words = text.split()
    for i in rng.sample(range(len(words)), int(share * len(words))):
        words[i] = rng.choice(VOCABULARY)
    return " ".join(words)


def duplicates(texts, folder, workers=1):
    pieces = [Piece(i, "s", f"s/{i}", each) for i, each in enumerate(texts)]
    for worker in range(workers):
        list(Signatures(folder, worker).add(pieces[worker::workers]))
    return find_duplicates(folder)


def test_the_first_of_each_group_is_kept(tmp_path):
    rng = random.Random(0)
    texts = [text(rng) for _ in range(40)]
    texts += [texts[3], texts[5].upper().replace(" ", ",  "), edited(texts[3], rng, 0.03)]
    assert duplicates(texts, tmp_path) == {40: 3, 41: 5, 42: 3}


def test_chains_are_one_group(tmp_path):
    rng = random.Random(1)
    chain = [text(rng)]
    for _ in range(6):
        chain.append(edited(chain[-1], rng, 0.04))
    assert set(duplicates(chain, tmp_path).values()) == {0}


def test_nearly_all_edited_copies_are_found_and_no_other_text(tmp_path):
    rng = random.Random(2)
    texts = [text(rng) for _ in range(200)]
    copies = [edited(each, rng, 0.05) for each in texts]
    found = duplicates([*texts, *copies], tmp_path)
    assert all(copy == original + 200 for copy, original in found.items())
    assert len(found) >= 198


def test_what_is_left_has_no_near_duplicates_across_parts(tmp_path):
    """The parts of a run's split, by the exact measure that the split itself applies."""
    rng = random.Random(3)
    texts = [text(rng) for _ in range(100)]
    texts += [edited(each, rng, 0.04) for each in texts[:50]]
    rng.shuffle(texts)
    assert near_duplicates(texts[:75], texts[75:])
    found = duplicates(texts, tmp_path)
    left = [each for i, each in enumerate(texts) if i not in found]
    assert not near_duplicates(left[:50], left[50:])


def test_workers_find_the_same(tmp_path):
    rng = random.Random(4)
    texts = [text(rng) for _ in range(30)]
    texts += [edited(each, rng, 0.03) for each in texts[:10]]
    one = duplicates(texts, tmp_path / "one")
    assert one and duplicates(texts, tmp_path / "three", workers=3) == one


def test_texts_without_words_do_not_break_it(tmp_path):
    assert duplicates(["", "!", "", "one"], tmp_path) == {2: 0}
