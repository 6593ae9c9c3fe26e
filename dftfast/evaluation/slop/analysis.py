"""Everything about the wording of one set of outputs that is a table and not one estimate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

from dftfast.evaluation.reference import Reference
from dftfast.evaluation.slop.copying import Copy
from dftfast.evaluation.slop.duplicates import closest_pairs
from dftfast.evaluation.slop.frequent import Frequent, most_frequent
from dftfast.evaluation.slop.lengths import Lengths, length_distributions
from dftfast.evaluation.slop.overused import (
    Overused,
    human_against_human,
    overused,
    phrases_of,
    without_parts,
)
from dftfast.evaluation.slop.style_gaps import StyleGap, style_gaps
from dftfast.evaluation.slop.tokens import TokenShare, l2_shares
from dftfast.evaluation.textset import TextSet
from dftfast.evaluation.two_samples import TwoSamples


@dataclass(frozen=True)
class Slop:
    """Tables of one set of outputs beside the human texts.

    Attributes:
        phrases, tokens: overused words and phrases, and overused tokens, by the number of texts
            that hold them.
        noise, token_noise: the same tables for one half of the human texts against the other.
        shares: the tokens that make up token L2.
        frequent: n (3 and 4) -> the most frequent word n-grams.
        style: gap of every style feature. lengths: of sentences and paragraphs.
        duplicates: (id, id, similarity) of near-duplicates among the outputs. copies: longest runs
            from the training texts.
    """

    phrases: list[Overused]
    noise: list[Overused]
    tokens: list[Overused]
    token_noise: list[Overused]
    shares: list[TokenShare]
    frequent: dict[int, list[Frequent]]
    style: list[StyleGap]
    lengths: list[Lengths]
    duplicates: list[tuple[str, str, float]]
    copies: list[Copy]

    def to_json(self) -> dict:
        return asdict(self)


def analyse(
    outputs: TextSet, reference: Reference, token_name: Callable[[int], str] = str, rows: int = 15
) -> Slop:
    """The tables, each with at most this many rows. `token_name` gives a token's text by its id."""
    s = TwoSamples(outputs, reference)
    x, y = ([phrases_of(t) for t in texts] for texts in (s.x.texts, s.y.texts))
    tokens = token_noise = shares = []
    if s.x.token_ids is not None and s.y.token_ids is not None:
        a, b = (
            [{token_name(t) for t in set(d) - reference.exclude} for d in ids]
            for ids in (s.x.token_ids, s.y.token_ids)
        )
        tokens, token_noise = overused(a, b, s.paired)[:rows], human_against_human(b)[:rows]
        shares = l2_shares(s.x.token_ids, s.y.token_ids, token_name, reference.exclude, rows)
    return Slop(
        phrases=without_parts(overused(x, y, s.paired)[: 4 * rows])[:rows],
        noise=without_parts(human_against_human(y)[: 4 * rows])[:rows],
        tokens=tokens,
        token_noise=token_noise,
        shares=shares,
        frequent={n: most_frequent(s.x.texts, s.y.texts, n, rows) for n in (3, 4)},
        style=style_gaps(s),
        lengths=length_distributions(s.x.texts, s.y.texts),
        duplicates=[
            (s.x.ids[i], s.x.ids[j], value) for i, j, value in closest_pairs(s.x.texts, rows)
        ],
        copies=[] if reference.corpus is None else reference.corpus.longest_copies(s.x.texts, rows),
    )
