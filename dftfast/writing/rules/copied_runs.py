"""Long runs of words that are in the corpus, by hashes that are kept in place of its texts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from pydantic import PrivateAttr

from dftfast.data.document import Document
from dftfast.runtime.errors import UserError
from dftfast.writing.passage import Passage
from dftfast.writing.rule import Example, Finding, Human, Rule, Severity, upper_limit

RUN = 10  # words that one hash stands for


class CopiedRuns(Rule):
    name = "copied-runs"
    about = (
        "Has a run of words in common with a text of the corpus that is longer than human texts "
        f"share with one another (fitted; runs below {RUN} words are not looked for)."
    )
    found = ()
    passed = (Example("Without hashes of a corpus it finds nothing."),)
    severity: Severity = "error"
    most: int = 20
    hashes: str | None = None  # a file beside the rules file
    _known: np.ndarray | None = PrivateAttr(None)

    def find(self, passage: Passage, brief: Document | None) -> Iterator[Finding]:
        for first, length in _streaks(passage, self._known):
            if length > self.most:
                start = passage.words[first].start
                end = passage.words[first + length - 1].end
                message = f"{length} words in a row are in the corpus (at most {self.most})"
                yield self.finding(start, end, message)

    def fit(self, texts: Sequence[Human], held: Sequence[Human], share: float) -> None:
        self.learn(h.passage for h in texts)
        longest = lambda passage: max((n for _, n in _streaks(passage, self._known)), default=0)
        self.most = max(int(upper_limit([longest(h.passage) for h in held], share)), RUN)

    def learn(self, passages: Iterable[Passage]) -> None:
        """Add the runs of more texts."""
        new = [_hashes(passage) for passage in passages]
        old = [] if self._known is None else [self._known]
        self._known = np.unique(np.concatenate([*old, *new, np.empty(0, np.uint64)]))

    def save(self, folder: Path, name: str) -> None:
        if self._known is not None:
            self.hashes = name
            np.save(folder / name, self._known, allow_pickle=False)

    def load(self, folder: Path) -> None:
        if self.hashes is None or self.severity == "off":
            return
        path = folder / self.hashes
        try:
            self._known = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path}: the hashes of the rule {self.name} cannot be read ({error}); fit the "
                "rules again, or set its severity to off"
            ) from None


def _streaks(passage: Passage, known: np.ndarray | None) -> Iterator[tuple[int, int]]:
    """(first word, words) of each stretch of which every run is known."""
    hashes = _hashes(passage) if known is not None and len(known) else []
    if known is None or not len(hashes):
        return
    there = known[np.minimum(np.searchsorted(known, hashes), len(known) - 1)] == hashes
    edges = np.flatnonzero(np.diff(np.r_[False, there, False]))
    for start, end in edges.reshape(-1, 2).tolist():
        yield start, end - start + RUN - 1


def _hashes(passage: Passage) -> np.ndarray:
    """uint64, of the run of RUN words from each word on."""
    words = [word.lower for word in passage.words]
    runs = (" ".join(words[i : i + RUN]).encode() for i in range(len(words) - RUN + 1))
    digests = b"".join(hashlib.blake2b(run, digest_size=8).digest() for run in runs)
    return np.frombuffer(digests, "<u8")
