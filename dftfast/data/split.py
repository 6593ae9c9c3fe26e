"""Train, validation and held-out documents, by the hash of the id.

A near-duplicate check keeps the three apart.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dftfast.data.document import Document
from dftfast.runtime.errors import UserError
from dftfast.runtime.words import words

log = logging.getLogger(__name__)
SMALLEST_PART = 8  # documents; fewer cannot be measured
_SHINGLE = 8  # words
# A shingle in more texts than this is boilerplate (a signature, a disclaimer) and says nothing.
_COMMON = 50


@dataclass(frozen=True)
class Split:
    """`train` to learn from, `validation` to choose by, `held_out` to report on."""

    train: list[Document]
    validation: list[Document]
    held_out: list[Document]


def hash_share(identifier: str, purpose: str) -> float:
    """A number in [0, 1), evenly spread, that depends on nothing but its arguments.

    For other purposes it is independent.
    """
    digest = hashlib.sha256(f"{purpose}\0{identifier}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split_corpus(
    documents: Sequence[Document],
    validation_share: float,
    held_out_share: float,
    held_out: Sequence[Document] | None = None,
) -> Split:
    """Cut the corpus in three; with `held_out` given, that is the third part and only two are cut.

    Training and validation texts that nearly repeat a held-out text are left out, and so are
    training texts that nearly repeat a validation text; how many is logged.

    Raises:
        UserError: a part has fewer than 8 documents.
    """
    parts: dict[str, list[Document]] = {
        "train": [],
        "validation": [],
        "held_out": list(held_out or ()),
    }
    bound = 0.0 if held_out is not None else held_out_share
    for document in documents:
        share = hash_share(document.id, "split")
        if share < bound:
            parts["held_out"].append(document)
        elif share < bound + validation_share:
            parts["validation"].append(document)
        else:
            parts["train"].append(document)
    for part, kept_apart_from in (
        ("validation", ("held_out",)),
        ("train", ("held_out", "validation")),
    ):
        reference = [document for other in kept_apart_from for document in parts[other]]
        repeats = near_duplicates(
            [document.text for document in parts[part]], [d.text for d in reference]
        )
        if repeats:
            log.info(
                "%d of %d %s texts nearly repeat a %s text and are left out",
                len(repeats),
                len(parts[part]),
                part,
                " or ".join(other.replace("_", "-") for other in kept_apart_from),
            )
            parts[part] = [document for i, document in enumerate(parts[part]) if i not in repeats]
    check_sizes(parts, len(documents), given_apart=held_out is not None)
    return Split(**parts)


def check_sizes(
    parts: Mapping[str, Sequence[Document]], documents: int, given_apart: bool = False
) -> None:
    """Raise UserError where a part has fewer than 8 documents, of that many in all."""
    for part, kept in parts.items():
        if len(kept) < SMALLEST_PART:
            advice = "give more text"
            if part == "validation" or (part == "held_out" and not given_apart):
                advice += f" or raise data.{part}_share"
            raise UserError(
                f"corpus too small: {documents} documents leave {len(kept)} for the "
                f"{part.replace('_', '-')} part, at least {SMALLEST_PART} are needed; {advice}"
            )


def near_duplicates(texts: Sequence[str], reference: Sequence[str], share: float = 0.5) -> set[int]:
    """Indices of the `texts` that nearly repeat one of the `reference`.

    They share at least `share` of the 8-word shingles of the shorter of the two. Case, punctuation
    and layout do not count. A text of fewer than 8 words is one shingle. Exact, by an inverted
    index: time and memory grow with the number of words.
    """
    index: dict[tuple[str, ...], list[int]] = defaultdict(list)
    sizes = []
    for j, text in enumerate(reference):
        pieces = shingles(text)
        sizes.append(len(pieces))
        for shingle in pieces:
            index[shingle].append(j)
    repeats = set()
    for i, text in enumerate(texts):
        pieces = shingles(text)
        shared = Counter(
            j
            for shingle in pieces
            if len(index.get(shingle, ())) <= _COMMON
            for j in index.get(shingle, ())
        )
        if any(count >= share * min(len(pieces), sizes[j]) for j, count in shared.items()):
            repeats.add(i)
    return repeats


def shingles(text: str) -> set[tuple[str, ...]]:
    """The runs of 8 words of a text, lower case; all of it when it is shorter."""
    tokens = words(text.lower())
    if not tokens:
        return set()
    return {tuple(tokens[i : i + _SHINGLE]) for i in range(max(len(tokens) - _SHINGLE + 1, 1))}
