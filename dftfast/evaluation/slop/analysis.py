"""Everything about the wording of one set of outputs that is a table and not one estimate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

from dftfast.evaluation.estimate import Permutations
from dftfast.evaluation.reference import Reference
from dftfast.evaluation.slop.copying import Copy
from dftfast.evaluation.slop.duplicates import closest_pairs
from dftfast.evaluation.slop.frequent import Frequent, most_frequent
from dftfast.evaluation.slop.lengths import Lengths, length_distributions
from dftfast.evaluation.slop.overused import (
    Overused,
    compared_phrases,
    overused,
    phrases_of,
    without_parts,
)
from dftfast.evaluation.slop.style_gaps import StyleGap, features, style_gaps, style_tests
from dftfast.evaluation.slop.tokens import TokenShare, l2_shares
from dftfast.evaluation.textset import TextSet
from dftfast.evaluation.two_samples import TwoSamples


@dataclass(frozen=True)
class Slop:
    """Tables of one set of outputs beside the human texts.

    Attributes:
        phrases, tokens: overused words and phrases, and overused tokens, by the number of texts
            that hold them. underused: phrases that human texts hold more often.
        phrases_p: p that no phrase is over- or underused, all that were examined considered.
        style_tests: the permutation test of each feature of style, by name.
        noise: the same table for one half of the human texts against the other.
        shares: the tokens that make up token L2.
        frequent: n (3 and 4) -> the most frequent word n-grams.
        style: gap of every style feature. lengths: of sentences and paragraphs.
        duplicates: (id, id, similarity) of near-duplicates among the outputs. copies: longest runs
            from the training texts.
    """

    phrases: list[Overused]
    underused: list[Overused]
    phrases_p: float
    noise: list[Overused]
    tokens: list[Overused]
    shares: list[TokenShare]
    frequent: dict[int, list[Frequent]]
    style: list[StyleGap]
    lengths: list[Lengths]
    duplicates: list[tuple[str, str, float]]
    copies: list[Copy]
    style_tests: dict[str, Permutations] = field(repr=False)

    def to_json(self) -> dict:
        return asdict(replace(self, style_tests={}))


def analyse(
    outputs: TextSet, reference: Reference, token_name: Callable[[int], str] = str, rows: int = 15
) -> Slop:
    """The tables, each with at most this many rows. `token_name` gives a token's text by its id."""
    s = TwoSamples(outputs, reference)
    compared = compared_phrases([phrases_of(t) for t in s.x.texts], reference.phrases, s.paired)
    over = [row for row in compared if row.outputs > row.human]
    under = [row for row in compared if row.outputs < row.human]
    style = features(s)
    tests = style_tests(s, style)
    tokens = shares = []
    if s.x.token_ids is not None and s.y.token_ids is not None:
        a, b = (
            [{token_name(t) for t in set(d) - reference.exclude} for d in ids]
            for ids in (s.x.token_ids, s.y.token_ids)
        )
        tokens = overused(a, b, s.paired)[:rows]
        shares = l2_shares(s.x.token_ids, s.y.token_ids, token_name, reference.exclude, rows)
    return Slop(
        phrases=without_parts(over[: 4 * rows])[:rows],
        underused=without_parts(under[: 4 * rows])[:rows],
        phrases_p=min((row.p for row in compared), default=1.0),
        noise=without_parts(reference.phrase_noise[: 4 * rows])[:rows],
        tokens=tokens,
        shares=shares,
        frequent={n: most_frequent(s.x.texts, s.y.texts, n, rows) for n in (3, 4)},
        style=style_gaps(s, style, tests),
        lengths=length_distributions(s.x.texts, s.y.texts),
        duplicates=[
            (s.x.ids[i], s.x.ids[j], value) for i, j, value in closest_pairs(s.x.texts, rows)
        ],
        copies=[] if reference.corpus is None else reference.corpus.longest_copies(s.x.texts, rows),
        style_tests=tests,
    )
