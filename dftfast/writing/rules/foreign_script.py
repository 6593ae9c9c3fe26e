"""Letters of a script that the text or the corpus is not written in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from dftfast.data.document import Document
from dftfast.evaluation.writing_systems import corpus_scripts, script
from dftfast.writing.passage import Passage
from dftfast.writing.rule import Example, Finding, Human, Rule, Severity


class ForeignScript(Rule):
    name = "foreign-script"
    about = (
        "Has letters of a script that the corpus has not (fitted), or, not fitted, that is neither "
        "Latin nor the script of most of the text."
    )
    found = (
        Example("The w\u043erd holds a Cyrillic letter."),
        Example("An αlpha in a word."),
        Example("Das ist ein 词 zu viel."),
        Example("日本語 and English", settings={"scripts": ["LATIN"]}),
    )
    passed = (
        Example("Naïve façade, 5 µm, π₀ and Σ."),
        Example(
            "これはペンです。 iPhone も。",
            settings={"scripts": ["HAN", "HIRAGANA", "KATAKANA", "LATIN"]},
        ),
        Example("Привет из Hamburg."),
    )
    severity: Severity = "error"
    scripts: list[str] | None = None

    def find(self, passage: Passage, brief: Document | None) -> Iterator[Finding]:
        text = passage.text
        if text.isascii() and (self.scripts is None or "LATIN" in self.scripts):
            return
        known = self._known(text)
        letters = [(i, name) for i, c in enumerate(text) if (name := script(c))]
        for name, run in groupby(letters, lambda each: each[1]):
            if name not in known:
                places = [i for i, _ in run]
                start, end = places[0], places[-1] + 1
                if name == "GREEK" and _stands_alone(text, start, end):
                    continue
                message = f"{text[start:end]!r} is {name.title()} script"
                yield self.finding(start, end, message)

    def fit(self, texts: Sequence[Human], held: Sequence[Human], share: float) -> None:
        least = share / 2  # what one script may cost
        everything = (h.passage.text for h in (*texts, *held))
        self.scripts = sorted(corpus_scripts(everything, least))

    def _known(self, text: str) -> set[str]:
        if self.scripts is not None:
            return {*self.scripts}
        counts = Counter(name for c in text if (name := script(c)))
        main = {name for name, _ in counts.most_common(1)}
        return {"LATIN", *main, *(_JAPANESE if main & _JAPANESE else ())}


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether it is one letter and no part of a word: the sign of a quantity."""
    beside = text[max(start - 1, 0) : start] + text[end : end + 1]
    return end - start == 1 and not any(map(str.isalpha, beside))


_JAPANESE = {"HAN", "HIRAGANA", "KATAKANA", "HANGUL"}
