"""Which texts of several files are compared: the prompts that all answer, at most so many."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from dftfast.runtime.errors import UserError

Draws = list[list[dict]]  # the generations of each draw of a system

MOST = 5000  # texts of a set: products of all pairs of texts take 0.8 GB each


def matched(
    rows: dict[str, Draws], human: list[dict], limit: int | None, seed: int
) -> tuple[dict[str, Draws], list[dict], list[str]]:
    """The rows to compare, the human texts beside them, and what was left out, a sentence each.

    Of systems that answer prompts of the human texts these are the prompts that all of them answer,
    in the order of the human texts; a system without a common id stays as it is, an independent
    sample. At most `limit` texts of a set are kept, the first ones, and without a limit at most
    `MOST`, chosen by the seed.

    Raises:
        UserError: too few prompts are answered by all, or there is no memory for so many texts.
    """
    notes = []
    ids = [row["id"] for row in human]
    known = set(ids)
    paired = [n for n, draws in rows.items() if not known.isdisjoint(r["id"] for r in draws[0])]
    if paired:
        answered = [{row["id"] for row in rows[name][0]} for name in paired]
        ids = [i for i in ids if all(i in each for each in answered)]
        if len(ids) < 4:
            raise UserError(
                f"{len(ids)} prompts of the human texts are answered by "
                f"{' and '.join(paired)}; at least 4 are needed"
            )
        notes += _left_out(ids, human, dict(zip(paired, answered)))
    elif rows:
        notes.append(
            "No id of the outputs is one of the human texts: they are compared as independent "
            "samples."
        )
    ids, note = _at_most(ids, limit, seed, "human texts")
    notes += note
    kept = {}
    for name, draws in rows.items():
        own = ids
        if name not in paired:
            own, note = _at_most([row["id"] for row in draws[0]], limit, seed, name)
            notes += note
        kept[name] = [_in_order(draw, own) for draw in draws]
    _check_memory(max(len(ids), *(len(draws[0]) for draws in kept.values())))
    return kept, _in_order(human, ids), notes


def copies_of_references(rows: dict[str, Draws], human: list[dict]) -> list[str]:
    """A warning for each system whose outputs are human texts of the reference."""
    of_prompt = {row["id"]: row["text"].strip() for row in human}
    texts, notes = set(of_prompt.values()), []
    for name, draws in rows.items():
        own = draws[0]
        same = sum(row["text"].strip() == of_prompt.get(row["id"]) for row in own)
        where = "the human text of their prompt"
        if not same:
            same, where = sum(row["text"].strip() in texts for row in own), "one of the human texts"
        if same:
            notes.append(f"{name}: {same} of {len(own)} outputs are {where}.")
    return notes


def _left_out(
    ids: Sequence[str], human: Sequence[dict], answered: dict[str, set[str]]
) -> list[str]:
    if all(len(each) == len(ids) for each in answered.values()):
        if len(ids) == len(human):
            return []
        return [
            f"{len(ids):,} of the {len(human):,} human texts answer the prompts of the outputs."
        ]
    counts = ", ".join(f"{name} has {len(each):,}" for name, each in answered.items())
    return [f"Compared on the {len(ids):,} prompts that all answer ({counts})."]


def _at_most(
    ids: list[str], limit: int | None, seed: int, name: str
) -> tuple[list[str], list[str]]:
    if limit is not None or len(ids) <= MOST:
        return ids[:limit], []
    chosen = np.sort(np.random.default_rng([seed, 8]).permutation(len(ids))[:MOST])
    note = f"{name}: {MOST:,} of {len(ids):,} texts, chosen by the seed; --limit takes more."
    return [ids[i] for i in chosen], [note]


def _in_order(rows: Sequence[dict], ids: Sequence[str]) -> list[dict]:
    by_id = {row["id"]: row for row in rows}
    return [by_id[i] for i in ids]


def _check_memory(texts: int) -> None:
    """A few products of all pairs of texts of both sets must fit."""
    if texts <= MOST:
        return
    needed = 4 * (2 * texts) ** 2 * 8 / 2**30
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    if needed > there:
        raise UserError(
            f"--limit: {texts:,} texts of a set need about {needed:.0f} GiB, this machine has "
            f"{there:.0f}; without --limit {MOST:,} are chosen by the seed"
        )
