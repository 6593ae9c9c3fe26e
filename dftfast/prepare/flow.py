"""The steps of a preparation, one after the other over files of pieces: nothing is held whole."""

from __future__ import annotations

import heapq
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from dftfast.data.split import hash_share
from dftfast.prepare.clean import Removed, clean
from dftfast.prepare.lines import LineRules
from dftfast.prepare.model_steps import ModelSteps
from dftfast.prepare.near_copies import Signatures, find_duplicates
from dftfast.prepare.piece import Piece
from dftfast.prepare.privacy import Mask
from dftfast.prepare.repeated_lines import LineCounts, count, find_repeated
from dftfast.prepare.rows import to_rows
from dftfast.prepare.settings import Settings
from dftfast.prepare.sources import find_files, read_pieces
from dftfast.prepare.tally import Tally
from dftfast.runtime.errors import UserError
from dftfast.runtime.files import atomic_file

log = logging.getLogger(__name__)
Pieces = Iterable[Piece]
BESIDE = ("removed.jsonl", "prepared.html", "prepared.json")  # the corpus


@dataclass(frozen=True)
class Steps:
    """What a user adds to the rules.

    Attributes:
        limit: rows of a trial, chosen by hash; None is all.
        model: cleans and briefs what the rules have left.
        count_tokens: of a text.
    """

    limit: int | None = None
    model: ModelSteps | None = None
    count_tokens: Callable[[str], int] | None = None


def prepare(sources: Sequence[str], out: Path, settings: Settings, steps: Steps) -> Tally:
    """Write the corpus `out` and beside it removed.jsonl; returns what the report shows.

    Raises:
        UserError: a source names nothing, or nothing is left of all of them.
    """
    written = {out.with_name(name).resolve() for name in (out.name, f"{out.name}.answers", *BESIDE)}
    files, tally = find_files(sources, written), Tally()
    work = out.with_name(f".{out.name}.work")
    shutil.rmtree(work, ignore_errors=True)  # of a run that was killed: the steps are quick
    work.mkdir(parents=True)
    removals, rows = work / "removed.jsonl", work / "rows.jsonl"
    try:
        with open(removals, "w", encoding="utf-8") as file:

            def removed(piece: Piece, lines: dict[int, str], rule: str | None) -> None:
                file.write(json.dumps(tally.removed(piece, lines, rule), ensure_ascii=False) + "\n")

            final = not (steps.model and steps.model.cleans)
            unique, rules = _by_rules(files, work, settings, tally, (removed, final))
            chosen = unique if steps.limit is None else _trial(unique, steps.limit)
            pieces = steps.model(chosen, tally, removed, rules) if steps.model else chosen()
            _write(rows, pieces, settings, steps, tally)
        for written, place in ((removals, out.with_name("removed.jsonl")), (rows, out)):
            with atomic_file(place) as partial:
                os.replace(written, partial)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return tally


def _by_rules(files, work: Path, settings: Settings, tally: Tally, told: tuple[Removed, bool]):
    """What the rules leave, as a function that reads it from disk again at each call; the rules."""
    read, cleaned = work / "read.jsonl", work / "cleaned.jsonl"
    pieces = count(read_pieces(files, settings, tally.skip), LineCounts(work / "lines"))
    tally.read = _spool(read, pieces, "reading")
    if not tally.read:
        reasons = "; ".join(f"{reason}: {n}" for reason, n in tally.skipped.most_common(3))
        raise UserError(f"no document in {len(files)} files ({reasons or 'all are empty'})")
    rules = LineRules(settings, find_repeated(work / "lines"))
    kept = clean(load(read), rules, settings, *told)
    _spool(cleaned, Signatures(work / "bands").add(kept), "cleaning", tally.read)
    duplicates = find_duplicates(work / "bands")
    tally.duplicates = len(duplicates)
    tally.pairs = _some_pairs(load(cleaned), duplicates)
    return (lambda: (p for p in load(cleaned) if p.key not in duplicates)), rules


def _some_pairs(pieces: Pieces, duplicates: dict[int, int], most: int = 20):
    """Where some duplicates and the texts kept for them are from."""
    wanted = dict(list(duplicates.items())[:most])
    named = {p.key: p.origin for p in pieces if p.key in wanted or p.key in wanted.values()}
    return [(named[kept], named[key]) for key, kept in wanted.items()]


def _trial(unique: Callable[[], Pieces], limit: int) -> Callable[[], Pieces]:
    """The pieces with the smallest hashes, in the order of the corpus."""
    best = heapq.nsmallest(limit, ((hash_share(p.id, "limit"), p.key) for p in unique()))
    keys = {key for _, key in best}
    return lambda: (piece for piece in unique() if piece.key in keys)


def _write(path: Path, pieces: Pieces, settings: Settings, steps: Steps, tally: Tally) -> None:
    mask = Mask(settings.region) if settings.mask else None
    with open(path, "w", encoding="utf-8") as file:
        for row in to_rows(pieces, mask, steps.count_tokens):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            tally.row(row)
    if not tally.rows:
        found = ", ".join(f"{rule} {n}" for rule, n in tally.left_out.most_common(3))
        raise UserError(
            f"nothing is left of {tally.read} documents ({found}); "
            "see --min-words, --without and --languages"
        )
    tally.masked = mask.counts if mask else tally.masked


def _spool(path: Path, pieces: Pieces, name: str, total: int | None = None) -> int:
    number = 0
    with open(path, "w", encoding="utf-8") as file:
        for piece in tqdm(pieces, name, total, unit="doc", dynamic_ncols=True, mininterval=1):
            file.write(json.dumps(piece.to_json(), ensure_ascii=False) + "\n")
            number += 1
    return number


def load(path: Path) -> Iterator[Piece]:
    with open(path, encoding="utf-8") as file:
        for line in file:
            yield Piece.from_json(json.loads(line))
