"""Targets as a command line names them, `FILE[:WEIGHT],...`, and the mixture that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np

from dftfast.distribution.ngram_table import NGramTable
from dftfast.distribution.private_target import PrivateTarget
from dftfast.distribution.samples import Samples
from dftfast.distribution.target_file import TargetFile, load_target
from dftfast.distribution.targets import Human, Target, blend, blend_rows
from dftfast.runtime.errors import UserError
from dftfast.runtime.mixing import LITTLE, common_lengths


def named_targets(given: Sequence[str]) -> list[tuple[Path, float]]:
    """(file, weight) of each `FILE` or `FILE:WEIGHT`.

    Raises:
        UserError: a weight that is not above 0, or some have one and others have none.
    """
    found: list[tuple[Path, float | None]] = []
    for part in given:
        name, colon, weight = part.rpartition(":")
        try:
            value = float(weight) if colon else None
        except ValueError:
            value = None
        if value is not None and not 0 < value < float("inf"):
            raise UserError(f"target {part!r}: the weight must be above 0")
        found.append((Path(part if value is None else name), value))
    weights = [weight for _, weight in found]
    if len(found) > 1 and None in weights:
        raise UserError(
            f"target {','.join(given)!r}: give every target a weight, as a.target:0.7,b.target:0.3"
        )
    return [(path, 1.0 if weight is None else weight) for path, weight in found]


@dataclass(frozen=True)
class Blend:
    """One target or several with their weights.

    Attributes:
        files: one at least.
        weights: of each, in sum 1.
    """

    files: list[TargetFile]
    weights: list[float]

    @classmethod
    def load(cls, given: Sequence[str]) -> Blend:
        """Raises UserError where files are missing or do not go together."""
        named = named_targets(given)
        files = [load_target(path) for path, _ in named]
        first = files[0]
        for other in files[1:]:
            for name in ("tokenizer", "embedder"):
                if first.header[name]["sha256"] != other.header[name]["sha256"]:
                    raise UserError(
                        f"{other.path}: its {name} is {other.header[name]['name']}, that of "
                        f"{first.path} {first.header[name]['name']}: make both with one"
                    )
        if len(files) > 1 and any(isinstance(file.target, PrivateTarget) for file in files):
            raise UserError("a private target is not blended: its kernels have another scale")
        whole = sum(weight for _, weight in named)
        return cls(files, [weight / whole for _, weight in named])

    @property
    def header(self) -> dict:
        """Of the first target; tokenizer and embedder are those of all."""
        return self.files[0].header

    def __str__(self) -> str:
        if len(self.files) == 1:
            return self.files[0].path.name
        return " + ".join(f"{w:.2f} {f.path.name}" for f, w in zip(self.files, self.weights))

    @cached_property
    def human(self) -> Human:
        """What a policy is trained towards: with the texts where all files have them."""
        if len(self.files) == 1:
            return self.files[0].samples or self.files[0].target
        targets = [file.target for file in self.files if isinstance(file.target, Target)]
        return blend(targets, self.weights)

    @cached_property
    def rows(self) -> list[np.ndarray]:
        """Of each file the texts that stand for it."""
        sizes = [int(file.header["texts"]) for file in self.files]
        return blend_rows(sizes, self.weights)

    @property
    def samples(self) -> list[Samples] | None:
        """The texts that stand for each file; None where one has none."""
        texts = [file.samples for file in self.files]
        known = [each for each in texts if each is not None]
        if len(known) < len(texts):
            return None
        return [each.select(rows.tolist()) for each, rows in zip(known, self.rows)]

    def warnings(self) -> list[str]:
        """A sentence for each two targets that have little in common."""
        found = []
        for one, other in combinations(self.files, 2):
            names = f"{one.path.name} and {other.path.name}"
            tokens = common_tokens(one.target.ngrams[1], other.target.ngrams[1])
            lengths = common_lengths(one.header["lengths"], other.header["lengths"])
            if tokens < LITTLE:
                found.append(
                    f"{names} have {tokens:.0%} of their tokens in common: a blend of two "
                    "languages or subjects is no way of writing"
                )
            if lengths < LITTLE:
                ends = " and ".join(
                    f"{f.header['lengths'][1]} to {f.header['lengths'][-2]}" for f in (one, other)
                )
                found.append(
                    f"{names} have {lengths:.0%} of their lengths in common ({ends} tokens, 90% "
                    "of each): prompts ask for a length, so most texts will be of one or the other"
                )
        return found


def common_tokens(a: NGramTable, b: NGramTable) -> float:
    """What two sets of texts have in common, Σ min(f, g) over the frequencies of tokens."""
    keys = np.union1d(a.keys, b.keys)
    f, g = (table.at(keys).sum(0) / max(float(table.counts.sum()), 1) for table in (a, b))
    return float(np.minimum(f, g).sum())
