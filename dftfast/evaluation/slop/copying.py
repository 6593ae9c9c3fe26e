"""Longest runs that texts have in common with a corpus: what outputs copy from training texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dftfast.evaluation.word_tokens import WordTokens
from dftfast.runtime.words import WORD_OR_MARK

LEAST = 4  # tokens: shorter runs are not looked for
RUN = 8  # tokens from which a common run counts as copied: shorter ones are common phrases
CHUNK = 4_000_000  # tokens of the corpus at a time: about 1 GB while they are matched
LEVELS = 12  # runs are followed up to 2^LEVELS tokens


@dataclass(frozen=True)
class Copy:
    """A run of `tokens` tokens of the text at `index` that is also in the corpus."""

    index: int
    tokens: int
    text: str


class Corpus:
    """Texts to find copies of, as words and punctuation marks (case counts)."""

    def __init__(self, texts: Sequence[str]):
        self._tokens = WordTokens()
        self._documents = [self._encode(text) for text in texts]

    def per_text(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """The longest copy of each text and its copied share, float64 [n] each.

        The first is the tokens of the longest run that it has in common with the corpus (0 below
        4), the second the share of its tokens in runs of at least 8. NaN for a text without a
        token.
        """
        matches = self.matches(texts)
        longest = [float(m.max()) if len(m) else np.nan for m in matches]
        share = [float(_covered(m).mean()) if len(m) else np.nan for m in matches]
        return {"longest_copy": np.array(longest), "copied": np.array(share)}

    def longest_copies(self, texts: Sequence[str], count: int = 10) -> list[Copy]:
        """The longest common runs of different wording, one a text, longest first."""
        best = {}
        for index, match in enumerate(self.matches(texts)):
            if len(match):
                start = int(match.argmax())
                pieces = list(WORD_OR_MARK.finditer(texts[index]))[
                    start : start + int(match[start])
                ]
                if pieces:
                    copy = Copy(
                        index, len(pieces), texts[index][pieces[0].start() : pieces[-1].end()]
                    )
                    best.setdefault(copy.text.casefold(), copy)
        return sorted(best.values(), key=lambda c: -c.tokens)[:count]

    def matches(self, texts: Sequence[str]) -> list[np.ndarray]:
        """For each token, the length of the longest run from there that occurs in the corpus.

        Exact; 0 below 4.
        """
        queries = [self._encode(text) for text in texts]
        separators = iter(range(len(self._tokens), 2**62))
        flat = _joined(queries, separators)
        longest = np.zeros(len(flat), np.int64)
        for chunk in _chunks(self._documents):
            part = _relevant(_joined(chunk, separators), flat)
            longest = np.maximum(longest, _longest_matches(part, flat))
        longest[longest < LEAST] = 0
        ends = np.cumsum([len(q) + 1 for q in queries])
        return [longest[end - len(q) - 1 : end - 1] for q, end in zip(queries, ends)]

    def _encode(self, text: str) -> np.ndarray:
        return np.array(self._tokens.encode(text), np.int64)


def _covered(match: np.ndarray) -> np.ndarray:
    """Whether each token lies in a common run of at least RUN tokens."""
    change = np.zeros(len(match) + 1, np.int64)
    start = np.flatnonzero(match >= RUN)
    np.add.at(change, start, 1)
    np.add.at(change, start + match[start], -1)
    return np.cumsum(change[:-1]) > 0


def _joined(documents: Sequence[np.ndarray], separators) -> np.ndarray:
    """All tokens in a row, each document closed by a separator that occurs nowhere else."""
    return np.concatenate([part for d in documents for part in (d, [next(separators)])]).astype(
        np.int64
    )


def _chunks(documents: Sequence[np.ndarray]):
    part, size = [], 0
    for document in documents:
        part.append(document)
        size += len(document)
        if size >= CHUNK:
            yield part
            part, size = [], 0
    if part:
        yield part


def _relevant(corpus: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """The corpus without what no run of LEAST tokens can touch, which is most of it.

    Separators stand in the gaps.
    """
    touched = np.isin(_hashes(corpus), _hashes(queries))  # a collision keeps a little too much
    kept = np.zeros(len(corpus), bool)
    for i in range(LEAST):
        kept[i : i + len(touched)] |= touched
    # the first token that is left out after a stretch that is kept
    gap = ~kept & np.r_[True, kept[:-1]]
    part = corpus.copy()
    part[gap] = -1 - np.arange(gap.sum())
    return part[kept | gap]


def _hashes(tokens: np.ndarray) -> np.ndarray:
    """A 64-bit hash of the LEAST tokens from each position on."""
    value = np.zeros(max(len(tokens) - LEAST + 1, 0), np.uint64)
    for i in range(LEAST):
        value = (value ^ tokens[i : i + len(value)].astype(np.uint64)) * np.uint64(
            0x9E3779B97F4A7C15
        )
        value ^= value >> np.uint64(29)
    return value


def _longest_matches(corpus: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Longest common run from each position of `queries` with any position of `corpus`.

    int64 [len(queries)].

    Prefix doubling (Manber and Myers 1993): level k ranks all positions by their next 2^k tokens,
    up to the level at which no class holds positions of both. In the order of that level a
    position's longest match is with the nearest corpus position before or after it; how long it is
    follows from the ranks of the lower levels.
    """
    n = len(corpus)
    levels = [np.unique(np.concatenate([corpus, queries]), return_inverse=True)[1]]
    while len(levels) <= LEVELS and np.isin(levels[-1][n:], levels[-1][:n]).any():
        rank, step = levels[-1], 1 << (len(levels) - 1)
        after = np.zeros_like(rank)
        after[:-step] = rank[step:] + 1
        levels.append(np.unique(rank * (len(rank) + 1) + after, return_inverse=True)[1])
    order = np.argsort(levels[-1], kind="stable")
    place = np.arange(len(order))
    of_corpus = order < n
    before = np.maximum.accumulate(np.where(of_corpus, place, -1))
    after = np.minimum.accumulate(np.where(of_corpus, place, len(order))[::-1])[::-1]
    ours = np.flatnonzero(~of_corpus)
    longest = np.zeros(len(queries), np.int64)
    for neighbour in (before[ours], after[ours]):
        there = (neighbour >= 0) & (neighbour < len(order))
        mine = order[ours[there]]
        longest[mine - n] = np.maximum(
            longest[mine - n], _common(levels, mine, order[neighbour[there]])
        )
    return longest


def _common(levels: list[np.ndarray], a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How many tokens agree from positions a and b on."""
    length = np.zeros(len(a), np.int64)
    last = len(levels[0]) - 1
    for k in reversed(range(len(levels))):
        i, j = np.minimum(a + length, last), np.minimum(b + length, last)
        length[levels[k][i] == levels[k][j]] += 1 << k
    return length
