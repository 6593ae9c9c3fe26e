"""Documents that a program can write by the hundred and that no rule takes for a bad text."""

from __future__ import annotations

import random
from pathlib import Path

NOUNS = (
    "harbour lamp letter garden wall boat road watch window table river bridge storm morning field "
    "kitchen basket stone mirror coat candle horse market church school island forest barrel rope "
    "bottle ladder hammer blanket kettle orchard cellar chimney meadow ferry violin ribbon wagon"
).split()
VERBS = (
    "found forgot carried painted sold remembered followed mended hid described counted borrowed "
    "opened closed watched praised cleaned measured visited promised burned saved moved wanted"
).split()
MANNERS = (
    "slowly,with great care,in the dark,before dawn,for the last time,while it rained,"
    "without a word,every other week,as his father had,at the end of the war,because nobody asked"
).split(",")
STARTS = ("ba", "ke", "lo", "mi", "ru", "sta", "tre", "vo", "har", "win")
ENDS = ("dley", "ston", "rick", "mond", "ville", "ner", "bert", "ford", "ley", "win")
FORMS = (
    "{N} {v} the {n} {m}.",
    "There was a {n} near the {n2}, and {N} {v} it {m}.",
    "When {N} came back from {P}, the {n} had been {v} by someone else.",
    "It was {m} that {N} {v} the {n} which {P} had lost.",
    "Nobody in {P} knew why {N} {v} a {n}.",
    "We asked about the {n}, but {N} only {v} the {n2} {m}.",
)
FRAME = "Welcome to the Kestrel story archive"


def story(seed: int, sentences: int = 12) -> str:
    rng = random.Random(seed)
    pick = rng.choice

    def sentence() -> str:
        name, place = (f"{pick(STARTS)}{pick(ENDS)}".capitalize() for _ in range(2))
        return pick(FORMS).format(
            N=name, P=place, v=pick(VERBS), n=pick(NOUNS), n2=pick(NOUNS), m=pick(MANNERS)
        )

    made = [sentence() for _ in range(sentences)]
    return "\n".join(" ".join(made[i : i + 3]) for i in range(0, sentences, 3))


def write_stories(folder: Path, number: int, frame: bool = True) -> Path:
    """Files with a story each, framed by lines that are no part of it."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(number):
        above = f"{FRAME}\nHome | Stories | About us\n" if frame else ""
        below = "\nShare on Facebook\n© 2019 Kestrel Ltd\n" if frame else ""
        (folder / f"{i:04d}.txt").write_text(above + story(i) + below, encoding="utf-8")
    return folder
