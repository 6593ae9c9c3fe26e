"""Overlap of wording: BLEU and chrF with the prompt's human text, self-BLEU among outputs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import regex

from dftfast.runtime.words import TIGHT

_PARTED = regex.compile(rf"{TIGHT.pattern}\p{{M}}*|[\p{{STerm}}--\p{{ASCII}}]|[、，]")
ORDER = 4  # of BLEU
BETA = 2  # of chrF


def bleu_statistics(outputs: Sequence[str], reference: Sequence[str]) -> np.ndarray:
    """Of each text: length, reference length, matches n=1..4, totals n=1..4. float64 [n, 10]

    Counts are sacrebleu's, and so are tokens (13a, and `zh` for Chinese).
    """
    from sacrebleu.metrics.bleu import BLEU

    bleu = BLEU()
    bleu.tokenizer = _tokenizer()
    return np.array(
        bleu._extract_corpus_statistics(list(outputs), [list(reference)]), dtype=np.float64
    )


def chrf_statistics(outputs: Sequence[str], reference: Sequence[str]) -> np.ndarray:
    """Of each text: output count, reference count and matches of character n-grams, n=1..6.

    Counts are sacrebleu's. float64 [n, 18]
    """
    from sacrebleu.metrics.chrf import CHRF

    return np.array(
        CHRF()._extract_corpus_statistics(list(outputs), [list(reference)]), dtype=np.float64
    )


def bleu(statistics: np.ndarray, effective_order: bool = False) -> np.ndarray:
    """BLEU, 0 to 100, of summed statistics [..., 10].

    Zero matches are smoothed exponentially, as sacrebleu does.
    """
    length, target = statistics[..., 0], statistics[..., 1]
    matches, totals = statistics[..., 2 : 2 + ORDER], statistics[..., 2 + ORDER :]
    brevity = np.where(length < target, np.exp(1 - target / np.maximum(length, 1e-9)), 1.0)
    counted = totals > 0  # an order with no n-grams ends the product
    zero = counted & (matches == 0)
    smoothed = 1 / 2.0 ** np.cumsum(zero, axis=-1)
    precision = np.where(zero, smoothed, matches) / np.maximum(totals, 1)
    logs = np.log(
        precision, where=counted, out=np.full(precision.shape, 0.0 if effective_order else -np.inf)
    )
    order = np.maximum(counted.sum(-1), 1) if effective_order else ORDER
    score = 100 * brevity * np.exp(logs.sum(-1) / order)
    return np.where(matches.sum(-1) > 0, score, 0.0)


def chrf(statistics: np.ndarray) -> np.ndarray:
    """chrF2, 0 to 100, of summed statistics [..., 18].

    It is the F-score of precision and recall averaged over the orders.
    """
    output, reference, match = statistics[..., 0::3], statistics[..., 1::3], statistics[..., 2::3]
    both = (output > 0) & (reference > 0)
    orders = np.maximum(both.sum(-1), 1)
    precision = (match / np.maximum(output, 1) * both).sum(-1) / orders
    recall = (match / np.maximum(reference, 1) * both).sum(-1) / orders
    below = BETA**2 * precision + recall
    return 100 * (1 + BETA**2) * precision * recall / np.where(below > 0, below, 1)


def self_bleu(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """BLEU-4, 0 to 1, of each text with all the others as references, and the mean's influences.

    Zhu et al., Texygen, SIGIR 2018. Two float64 [n]. A text moves the mean by its own score and as
    a reference of the others. The influences are those of the jackknife (Efron and Stein, The
    Jackknife Estimate of Variance, Annals of Statistics 1981), to first order in the matches, with
    the scores' mean: their spread is that of the mean where texts are drawn.

    Exact in one pass: the clipping count of an n-gram is its largest count in another text, which
    is the largest of all unless this text holds it, and then the second largest. Smoothing and
    tokens are sacrebleu's.
    """
    tokenize = _tokenizer()
    vocabulary: dict[str, int] = {}
    documents = [
        np.array(
            [vocabulary.setdefault(w, len(vocabulary)) for w in tokenize(t.rstrip()).split()],
            np.int64,
        )
        for t in texts
    ]
    lengths, count = np.array([len(d) for d in documents]), len(texts)
    statistics = np.zeros((count, 2 + 2 * ORDER))
    statistics[:, 0], statistics[:, 1] = lengths, _closest_other(lengths)
    tokens, document = np.concatenate(documents), np.repeat(np.arange(count), lengths)
    rank = tokens  # of the n-gram that starts at each token, among distinct n-grams
    owed = []  # of each order: who loses matches without whom, and how many
    for n in range(1, ORDER + 1):
        if n > 1:
            rank = rank[:-1] * len(vocabulary) + tokens[n - 1 :]
        size = len(rank)
        inside = document[:size] == document[n - 1 : n - 1 + size]
        rank = np.unique(rank, return_inverse=True)[1]
        matches, debts = _clipped(rank[inside], document[:size][inside], count)
        owed.append(debts)
        statistics[:, 1 + n] = matches
        statistics[:, 1 + ORDER + n] = np.maximum(lengths - n + 1, 0)
    scores = bleu(statistics, effective_order=True) / 100
    orders = np.maximum((statistics[:, 2 + ORDER :] > 0).sum(1), 1)
    influences = scores.copy()
    for n, (loser, giver, loss) in enumerate(owed):
        each = scores[loser] * loss / (orders[loser] * statistics[loser, 2 + n])
        influences += np.bincount(giver, each, minlength=count)
    return scores, influences - influences.mean() + scores.mean()


@cache
def _tokenizer():
    """sacrebleu's 13a, one for all, that parts what other languages write without spaces.

    Characters that are words of their own (`runtime.words`) are tokens, as in sacrebleu's `zh`, and
    so are their marks that end sentences. Texts without them have the tokens of 13a. It remembers
    texts, and BLEU and self-BLEU tokenise the same ones.
    """
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    class Tokenizer(Tokenizer13a):
        def __call__(self, line):
            return super().__call__(line if line.isascii() else _PARTED.sub(r" \g<0> ", line))

    return Tokenizer()


def _clipped(
    rank: np.ndarray, document: np.ndarray, texts: int
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For each text, the sum over its n-grams of min(count, largest count in another text).

    And what texts owe one another: (who, to whom, how many of its matches). Without the text that
    has most of an n-gram only the one with the second most loses matches, and the other way round:
    down to the third most.
    """
    pair, count = np.unique(rank.astype(np.int64) * texts + document, return_counts=True)
    gram, document = pair // texts, pair % texts
    order = np.lexsort((-count, gram))
    first = np.ones(len(order), bool)
    first[1:] = gram[order][1:] != gram[order][:-1]
    group = np.cumsum(first) - 1
    start = np.flatnonzero(first)
    size = np.diff(np.r_[start, len(order)])
    most = lambda place: np.where(
        size > place, count[order][np.minimum(start + place, len(order) - 1)], 0
    )
    largest, second, third = most(0), most(1), most(2)
    others = np.where(first, second[group], largest[group])
    matches = np.bincount(document[order], np.minimum(count[order], others), minlength=texts)
    debt = second - third
    owing = start[debt > 0]
    one, other, debt = document[order][owing], document[order][owing + 1], debt[debt > 0]
    return matches, (np.r_[one, other], np.r_[other, one], np.r_[debt, debt])


def _closest_other(lengths: np.ndarray) -> np.ndarray:
    """The length nearest to each among the others, the shorter one of two."""
    if len(lengths) == 1:
        return lengths
    order = np.sort(lengths)
    place = np.searchsorted(order, lengths)
    place_after = np.minimum(np.searchsorted(order, lengths, side="right"), len(order) - 1)
    twin = np.searchsorted(order, lengths, side="right") - place > 1
    below = np.where(place > 0, order[np.maximum(place - 1, 0)], -(10**9))
    above = np.where(
        np.searchsorted(order, lengths, side="right") < len(order), order[place_after], 10**9
    )
    nearest = np.where(lengths - below <= above - lengths, below, above)
    return np.where(twin, lengths, nearest)
