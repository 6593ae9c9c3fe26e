"""What a preparation did, counted as it goes: the content of its report."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field

from dftfast.data.split import hash_share
from dftfast.prepare.piece import Piece

SHOWN = 50  # documents whose removed lines are shown, and rows whose briefs are
_EXAMPLES = 5  # of each reason for a skip


class Shown:
    """The documents with the smallest hashes: the same ones whatever the order."""

    def __init__(self, most: int = SHOWN):
        self.most, self._heap, self._offered = most, [], 0

    def offer(self, identifier: str, value: dict) -> None:
        share = hash_share(identifier, "shown")
        self._offered += 1  # documents that are the same have one identifier
        entry = (-share, identifier, -self._offered, value)
        if len(self._heap) < self.most:
            heapq.heappush(self._heap, entry)
        elif entry > self._heap[0]:
            heapq.heapreplace(self._heap, entry)

    def values(self) -> list[dict]:
        return [value for *_, value in sorted(self._heap, key=_place)]


def _place(entry: tuple) -> tuple:
    share, identifier, offered, _ = entry
    return -share, identifier, -offered


@dataclass
class Tally:
    """Counts of every step.

    Attributes:
        skipped: why files and documents were not read -> how many; `examples` names some.
        lines: rule -> lines removed; `touched` documents lost any.
        left_out: rule -> documents.
        duplicates: documents that repeat another, of which `pairs` shows some.
        words: length of a row in words -> rows.
        model: what a model's answers came to -> how many.
    """

    read: int = 0
    rows: int = 0
    tokens: int = 0
    touched: int = 0
    duplicates: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    lines: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    pairs: list[tuple[str, str]] = field(default_factory=list)
    words: Counter[int] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    scripts: Counter[str] = field(default_factory=Counter)
    use_cases: Counter[str] = field(default_factory=Counter)
    styles: Counter[str] = field(default_factory=Counter)
    briefs: Counter[str] = field(default_factory=Counter)
    empty_outlines: int = 0
    em_dashes: int = 0
    masked: Counter[str] = field(default_factory=Counter)
    model: Counter[str] = field(default_factory=Counter)
    diffs: Shown = field(default_factory=Shown)
    shown_rows: Shown = field(default_factory=Shown)

    def skip(self, origin: str, reason: str) -> None:
        self.skipped[reason] += 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < _EXAMPLES:
            examples.append(origin)

    def removed(self, piece: Piece, lines: dict[int, str], rule: str | None) -> dict:
        """Count what was removed of a piece; returns it as a row of the file of removals."""
        self.lines.update(lines.values())
        self.touched += bool(lines)
        if rule:
            self.left_out[rule] += 1
        text = piece.text.split("\n")
        gone = [{"line": i + 1, "rule": name, "text": text[i]} for i, name in lines.items()]
        row = {"id": piece.id, "source": piece.origin, "left_out": rule, "removed": gone}
        shown = [{"text": line, "rule": lines.get(i)} for i, line in enumerate(text)]
        self.diffs.offer(piece.id, {"source": piece.origin, "left_out": rule, "lines": shown})
        return row | ({"text": piece.text} if rule else {})

    def row(self, row: dict) -> None:
        self.rows += 1
        self.tokens += row.get("tokens", 0)
        self.words[row["words"]] += 1
        self.languages[row["language"]] += 1
        self.scripts[row["script"]] += 1
        self.use_cases[row["use_case"]] += 1
        self.styles[row["style"]] += 1
        self.briefs[row["brief"]] += 1
        self.empty_outlines += not row["outline"]
        self.em_dashes += row["em_dashes_allowed"]
        self.shown_rows.offer(row["id"], row)

    def quantile(self, share: float) -> int:
        """Of the lengths of the rows, in words."""
        rest = share * self.rows
        for length in sorted(self.words):
            rest -= self.words[length]
            if rest <= 0:
                return length
        return 0

    def to_json(self) -> dict:
        plain = (int, Counter, dict, list)
        return {name: value for name, value in vars(self).items() if isinstance(value, plain)}
