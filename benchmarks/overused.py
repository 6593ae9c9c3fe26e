"""Which words and phrases a model overuses, without a corpus of one's own: a recipe.

    python benchmarks/overused.py prompts > prompts.jsonl
    dftfast generate --prompts prompts.jsonl --out one.jsonl --temperature 0.7 --n 2
    pip install wordfreq
    python benchmarks/overused.py list --human human.jsonl one.jsonl [two.jsonl ...] > overused.txt
    python benchmarks/overused.py share overused.txt human.jsonl one.jsonl

`prompts` are kinds of text times subjects, all made here. `list` compares the share of texts that
hold a word with what its frequency in human language says (`wordfreq`: Speer, 2022), and that of a
trigram, for which there is no such source, with its share in human texts; it keeps what is overused
whatever the subject and the kind of text. Nothing but what the models wrote is in it. `share` is
how many texts of a file hold an entry, of models those on subjects that no list was made of.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from dftfast.runtime.words import lower_words

KINDS = (
    "an email to colleagues about",
    "a news report about",
    "a blog post about",
    "a short story about",
    "an essay about",
    "a letter to a friend about",
    "a speech about",
    "a product description for",
)
SUBJECTS = (
    *("a late delivery", "a village market", "a broken bicycle", "the new office", "a storm"),
    *("a football match", "learning to cook", "an old lighthouse", "a budget cut", "wild bees"),
    *("a missed train", "a school library", "renting a flat", "a power failure", "a used car"),
    *("gardening in winter", "a lost dog", "a museum of clocks", "a software update", "a strike"),
    *("night shifts", "a chess club", "tap water", "a second-hand piano", "a mountain path"),
    *(
        "the price of bread",
        "a job interview",
        "a family recipe",
        "bus routes",
        "a noisy neighbour",
    ),
    *("a river in flood", "first aid", "a retirement", "an election in a town", "coffee"),
    *("a hiking tent", "moving house", "a choir", "the night sky", "a parking fine"),
)
HELD_OUT = 10  # the last subjects: for `share`, never for a list
WORDS = 150
LEAST_SHARE, SUBJECTS_OF, KINDS_OF = 0.015, 6, 4  # of an entry: texts, subjects, kinds of text
TIMES = 40  # as many texts as human language has
RAREST = 1e-8  # frequency of a word that wordfreq does not know


def prompts() -> Iterator[dict]:
    for (number, subject), kind in product(enumerate(SUBJECTS), KINDS):
        part = "held-out" if number >= len(SUBJECTS) - HELD_OUT else "list"
        yield {
            "id": f"{part}/{subject}/{kind}",
            "prompt": f"Write {kind} {subject}, in about {WORDS} words.",
        }


def words_of(text: str) -> list[str]:
    return lower_words(text.replace("\u2019", "'"))


def rows_of(paths: Iterable[str]) -> list[dict]:
    return [json.loads(line) for path in paths for line in open(path, encoding="utf-8")]


def overused(rows: Sequence[dict], human: Sequence[dict]) -> list[str]:
    """Words and then trigrams that are in the rows' texts, the most overused first."""
    from wordfreq import word_frequency

    rows = [row for row in rows if row["id"].startswith("list/")]
    texts = [words_of(row["text"]) for row in rows]
    length = sum(map(len, texts)) / len(texts)
    expected = lambda word: 1 - (1 - max(word_frequency(word, "en"), RAREST)) ** length
    words = _common(rows, [{w for w in text if w.isalpha()} for text in texts])
    times = {word: share / expected(word) for word, share in words.items()}
    kept = sorted((w for w, by in times.items() if by >= TIMES), key=lambda w: -times[w])
    trigrams = _common(rows, [set(map(" ".join, zip(t, t[1:], t[2:]))) for t in texts])
    of_people: Counter[str] = Counter()
    for row in human:
        text = words_of(row["text"])
        of_people.update(set(map(" ".join, zip(text, text[1:], text[2:]))) & set(trigrams))
    by = {t: share / (max(of_people[t], 1) / len(human)) for t, share in trigrams.items()}
    whole = [t for t in trigrams if by[t] >= 5 * TIMES and not set(t.split()) & set(kept)]
    return [*kept, *sorted(whole, key=lambda t: -by[t])]


def _common(rows: Sequence[dict], found: Sequence[set[str]]) -> dict[str, float]:
    """Share of texts of what is in enough of them, whatever the subject and the kind of text."""
    texts, subjects, kinds = Counter(), defaultdict(set), defaultdict(set)
    for row, each in zip(rows, found):
        _, subject, kind = row["id"].split("/")
        for entry in each:
            texts[entry] += 1
            subjects[entry].add(subject)
            kinds[entry].add(kind)
    return {
        entry: count / len(rows)
        for entry, count in texts.items()
        if count >= LEAST_SHARE * len(rows)
        and len(subjects[entry]) >= SUBJECTS_OF
        and len(kinds[entry]) >= KINDS_OF
    }


def share(phrases: Sequence[str], rows: Sequence[dict]) -> float:
    """Share of the texts that hold one of the phrases."""
    padded = [f" {' '.join(words_of(row['text']))} " for row in rows]
    return sum(any(f" {p} " in text for p in phrases) for text in padded) / len(padded)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parts = parser.add_subparsers(dest="part", required=True)
    parts.add_parser("prompts")
    listed, shared = parts.add_parser("list"), parts.add_parser("share")
    listed.add_argument("--human", required=True)
    shared.add_argument("list")
    for part in (listed, shared):
        part.add_argument("files", nargs="+")
    options = parser.parse_args()
    if options.part == "prompts":
        for row in prompts():
            print(json.dumps(row))
    elif options.part == "list":
        print("\n".join(overused(rows_of(options.files), rows_of([options.human]))))
    else:
        lines = open(options.list, encoding="utf-8").read().splitlines()
        phrases = [line for line in lines if line and not line.startswith("#")]
        for path in options.files:
            rows = [row for row in rows_of([path]) if not row["id"].startswith("list/")]
            print(f"{share(phrases, rows):8.2%} of {len(rows):,}  {path}")


if __name__ == "__main__":
    main()
