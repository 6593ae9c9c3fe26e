"""Copying, duplicates, constructions, token shares, lengths and style against brute force and cases
worked out by hand."""

import random
from collections import Counter

import numpy as np
import pytest

from dftfast.evaluation import Reference, analyse, evaluate, text_stats
from dftfast.evaluation.slop.copying import Corpus
from dftfast.evaluation.slop.duplicates import closest_pairs, near_duplicates, shingle_similarity
from dftfast.evaluation.slop.frequent import most_frequent
from dftfast.evaluation.slop.lengths import length_distributions
from dftfast.evaluation.slop.tokens import l2_shares
from dftfast.runtime.words import WORD_OR_MARK, lower_words


def longest_by_force(corpus, text):
    """For each token of `text`, the longest run of at least 4 from there inside one text of the
    corpus."""
    runs = {
        tuple(d[i:j])
        for d in map(WORD_OR_MARK.findall, corpus)
        for i in range(len(d))
        for j in range(i + 1, len(d) + 1)
    }
    t = WORD_OR_MARK.findall(text)
    return [
        max((n for n in range(4, len(t) - i + 1) if tuple(t[i : i + n]) in runs), default=0)
        for i in range(len(t))
    ]


@pytest.mark.parametrize("chunk", [4_000_000, 30])  # the corpus at once and in pieces
@pytest.mark.parametrize("seed", range(4))
def test_longest_common_runs(seed, chunk, monkeypatch):
    monkeypatch.setattr("dftfast.evaluation.slop.copying.CHUNK", chunk)
    rng = random.Random(seed)
    text = lambda n: " ".join(rng.choice("abcd"[: seed + 1]) for _ in range(n))
    corpus = [text(rng.randint(0, 30)) for _ in range(8)] + ["v w x y z", ""]
    texts = [text(rng.randint(0, 40)) for _ in range(6)] + [
        "",
        "y v w x y q z",
        "unknown",
        corpus[0],
        "q " + corpus[1] + " q",
    ]
    for measured, one in zip(Corpus(corpus).matches(texts), texts):
        assert measured.tolist() == longest_by_force(corpus, one)


def test_copied_run_is_shown_as_it_stands():
    corpus = Corpus(
        ["Nobody knows, she said, why the river turned back that year.", "Something else."]
    )
    texts = [
        "But nobody knows, she said, why the river turned back then.",
        "Entirely new words here",
        "",
        "of its own",
    ]
    figures = corpus.per_text(texts)
    assert figures["longest_copy"][0] == 10 and np.isnan(figures["longest_copy"][2])
    assert figures["copied"].tolist()[:2] == [10 / 14, 0]
    (copy,) = [c for c in corpus.longest_copies(texts) if c.tokens > 1]
    assert (copy.index, copy.tokens, copy.text) == (
        0,
        10,
        "knows, she said, why the river turned back",
    )


def test_shingle_similarity_is_that_of_sets():
    texts = ["a b c d", "a b c d e", "A B C, D!", "", "one", "", "z y x w"]

    def shingles(text):
        w = ["", "", *lower_words(text), None]
        return {tuple(w[i : i + 3]) for i in range(len(w) - 2)}

    sets = [shingles(t) for t in texts]
    expected = [[len(a & b) / len(a | b) for b in sets] for a in sets]
    assert np.allclose(shingle_similarity(texts), expected, atol=1e-15)
    assert near_duplicates(texts)[0].tolist() == [1, 1, 1, 1, 0, 1, 0]
    assert closest_pairs(texts) == [(0, 2, 1.0), (3, 5, 1.0)]


@pytest.mark.parametrize(
    "text",
    [
        "It is not just a tool but a way of life.",
        "This isn't about money. It's about trust.",
        "Not only fast, but also cheap",
        "It's not a bug, it's a feature",
        "not by force but by law",
        "The meeting was not merely long \u2014 it was endless, but fine",
    ],
)
def test_not_but(text):
    assert text_stats.has_not_but(text)


@pytest.mark.parametrize(
    "text",
    [
        "I could not go, but she did.",
        "Not now.",
        "It is just a tool. But not mine",
        "nothing but a name",
    ],
)
def test_not_every_not_is_one(text):
    assert not text_stats.has_not_but(text)


def test_shares_of_the_squared_distance():
    rows = l2_shares([[1, 1, 2, 9], [3]], [[1, 2], [2, 4, 9]], str, exclude={9})
    gaps = {"1": 2 / 4 - 1 / 4, "2": 1 / 4 - 2 / 4, "3": 1 / 4, "4": -1 / 4}
    assert {r.token: r.share for r in rows} == pytest.approx(
        {t: g * g / sum(g * g for g in gaps.values()) for t, g in gaps.items()}
    )
    assert [r.outputs - r.human for r in rows] == pytest.approx([gaps[r.token] for r in rows])
    assert l2_shares([[1, 2]], [[2, 1]], str) == [] and l2_shares([[]], [[1]], str) == []


def test_most_frequent_ngrams_do_not_cross_sentences():
    rows = most_frequent(["a b c d. a b c", "A b c"], ["a b c"], 3)
    assert [(r.phrase, r.outputs, r.human) for r in rows] == [("a b c", 3, 1)]


def test_length_distributions():
    sentence, paragraph = length_distributions(
        ["One two. Three.\nFour five six"], ["One two three four"]
    )
    assert (
        sentence.outputs[2] == 2
        and sentence.human[2] == 4
        and paragraph.outputs == pytest.approx([3] * 5)
    )
    assert (
        sum(sentence.outputs_shares) == pytest.approx(1)
        and len(sentence.edges) == len(sentence.human_shares) + 1
    )
    assert length_distributions([""], ["a"])[0].outputs == []


def test_planted_habits_show_in_figures_and_tables(sets):
    human = sets(120, 0)
    texts = [
        t + " It is not just a river, but a road!" if i % 2 else t
        for i, t in enumerate(sets(120, 1).texts)
    ]
    texts[7] = texts[8]
    numbers: dict[str, int] = {}
    human.token_ids, token_ids = (
        [[numbers.setdefault(w, len(numbers)) for w in t.split()] for t in part]
        for part in (human.texts, texts)
    )
    outputs = sets(120, 1, texts=texts, token_ids=token_ids)
    reference = Reference(human, rounds=200, corpus=sets(50, 5).texts)
    figures = evaluate(outputs, reference)
    assert (
        figures["not_but"].value == 59 / 120
        and figures["not_but"].human == 0
        and figures["not_but"].p < 0.01
    )
    assert figures["near_duplicates"].value >= 2 / 120 and figures["style_mmd"].p < 0.01
    assert figures["longest_copy"].value > 3 and figures["copied"].low is not None
    slop = analyse(outputs, reference)
    assert "exclamation marks" in [
        row.feature for row in slop.style[:6] if row.p < 0.05 and row.gap > 0
    ]
    assert slop.phrases[0].phrase.startswith("it is not just") and slop.duplicates
    assert max((c.tokens for c in slop.copies), default=0) == max(
        m.max() for m in reference.corpus.matches(outputs.texts)
    )
    assert slop.tokens[0].p < 0.01
    counts = Counter(t for d in outputs.token_ids for t in d)
    assert slop.shares[0].outputs == pytest.approx(
        counts[int(slop.shares[0].token)] / counts.total()
    )


def test_style_is_alike_in_equal_populations(sets):
    slop = analyse(sets(150, 1), Reference(sets(150, 0), rounds=200))
    assert (
        all(row.p > 0.05 and row.low <= row.gap <= row.high for row in slop.style)
        and not slop.copies
    )
