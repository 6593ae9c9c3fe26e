"""Phrases that models use and the corpus never."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from dftfast.data.document import Document
from dftfast.writing.passage import Passage
from dftfast.writing.rule import Example, Finding, Human, Rule, Severity

_LISTS = ("model_phrases.txt", "smollm2_phrases.txt")
_COMPARED = 2000  # human texts beside which a model's are laid; all are asked for what they hold
_MOST = 300  # phrases learnt of a model


class ModelPhrases(Rule):
    name = "model-phrases"
    about = (
        "Has a word or phrase that models use and the corpus never. Two lists, one written by "
        "hand ([model_phrases.txt](../dftfast/writing/model_phrases.txt)) and one counted in the "
        "texts of a small model "
        "([smollm2_phrases.txt](../dftfast/writing/smollm2_phrases.txt)), count without what the "
        "corpus holds, and so do phrases learnt from texts of a model (`--model-texts`)."
    )
    found = (
        Example("We delve into the rich tapestry of the town."),
        Example("We walked through the bustling town."),
        Example("Buy low, sell high.", settings={"phrases": ["sell high"]}),
    )
    passed = (
        Example("We looked at the town."),
        Example("We delve into it.", settings={"phrases": ["sell high"]}),
        Example("They sell. High prices hold.", settings={"phrases": ["sell high"]}),
    )
    severity: Severity = "error"
    phrases: list[str] | None = None  # None: the lists

    def find(self, passage: Passage, brief: Document | None) -> Iterator[Finding]:
        listed = tuple(shipped() if self.phrases is None else self.phrases)
        for first, last, phrase in _places(passage, listed):
            yield self.finding(first, last, f"{phrase!r}: models write this, the corpus does not")

    def fit(self, texts: Sequence[Human], held: Sequence[Human], share: float) -> None:
        """Keep the phrases that no human text holds, of either part."""
        listed = tuple(shipped() if self.phrases is None else self.phrases)
        used = {p for h in (*texts, *held) for *_, p in _places(h.passage, listed)}
        self.phrases = [phrase for phrase in listed if phrase not in used]

    def learn(self, outputs: Sequence[str], texts: Sequence[str]) -> None:
        """Add phrases of two to four words that the outputs overuse against human texts."""
        from dftfast.evaluation.slop.overused import overused, phrases_of, without_parts

        several = lambda text: phrases_of(text, (2, 3, 4))
        step = max(len(texts) // _COMPARED, 1)
        rows = overused(list(map(several, outputs)), list(map(several, texts[::step])), False)
        kept = without_parts([r for r in rows if r.p < 0.05 and r.human == 0][: 4 * _MOST])[:_MOST]
        plain = (row.phrase.replace("’", "'") for row in kept)
        self.phrases = list(dict.fromkeys([*(self.phrases or shipped()), *plain]))


@lru_cache(maxsize=1)
def shipped() -> tuple[str, ...]:
    """The phrases of the lists, in the order of the files."""
    folder = Path(__file__).parents[1]
    texts = [(folder / name).read_text(encoding="utf-8") for name in _LISTS]
    lines = [line.strip() for text in texts for line in text.splitlines()]
    return tuple(dict.fromkeys(line for line in lines if line and not line.startswith("#")))


@lru_cache(maxsize=8)
def _by_first(phrases: tuple[str, ...]) -> dict[str, list[list[str]]]:
    """First word -> the phrases from there, longest first."""
    found = defaultdict(list)
    for phrase in sorted(phrases, key=lambda p: -len(p.split())):
        found[phrase.lower().split()[0]].append(phrase.lower().split())
    return dict(found)


def _places(passage: Passage, phrases: tuple[str, ...]) -> Iterator[tuple[int, int, str]]:
    """(start, end, phrase); a phrase does not cross the end of a sentence."""
    table = _by_first(phrases)
    for sentence in passage.sentences:
        lower = [word.lower for word in sentence.words]
        for i, word in enumerate(lower):
            for phrase in table.get(word, ()):
                if lower[i : i + len(phrase)] == phrase:
                    last = sentence.words[i + len(phrase) - 1]
                    yield sentence.words[i].start, last.end, " ".join(phrase)
                    break
