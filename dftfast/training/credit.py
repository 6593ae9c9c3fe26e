"""Credit within a text: where in it the tokens are for which it was chosen or rejected, as far as that is known.

A text is chosen or rejected as a whole, and most of its tokens have no part in that. Of two properties it is known which
have: repeats of itself, which weigh more in a rejected text where the policy repeats itself more than people do (the
negative half of unlikelihood training, Welleck et al. 2020, https://arxiv.org/abs/1908.04319, with a mark to end at), and
common phrases, which weigh more in a chosen one where the policy uses fewer than people do.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from ..distribution.samples import Samples
from .health import grams, repeated, repetition

log = logging.getLogger(__name__)

PHRASE = 5  # tokens
TEXTS = 3  # other human texts that have a common phrase


def rejection(tokens: Sequence[int], logprobs: Sequence[float], weight: float, more: float) -> list[float]:
    """For `contrast`: minus ``weight`` over the probability that each token was drawn with, ``1 + more`` times that of a repeat."""
    return (-weight * (1 + more * repeated(tokens)) / np.exp(logprobs)).tolist()


def excess_repetition(human: Samples, policy: float) -> float:
    """The share of the ``policy``'s repeats (its `repetition`) that is more than human texts have; 0 where it has no more."""
    people = repetition(_texts(human))
    log.info("%.2f%% of the 4-grams repeat one of their text, %.2f%% in human texts", 100 * policy, 100 * people)
    return max(0.0, 1 - people / policy) if policy else 0.0


class CommonPhrases:
    """Runs of five tokens that at least three other human texts have.

    Attributes:
        lack: the share of the human texts' tokens in such runs that the candidates are short of; 0 where they are not.
    """

    def __init__(self, human: Samples, candidates: Samples):
        self.texts_with = Counter(gram for text in _texts(human) for gram in set(grams(text, PHRASE)))
        people, policy = self._share(_texts(human), TEXTS + 1), self._share(_texts(candidates), TEXTS)  # each has its own
        log.info("%.1f%% of the tokens are in common phrases, %.1f%% in human texts", 100 * policy, 100 * people)
        self.lack = max(0.0, 1 - policy / people) if people else 0.0

    def weights(self, tokens: Sequence[int], more: float) -> list[float]:
        """1 for a token of a chosen text, ``1 + more · lack`` for one in a common phrase."""
        return (1 + more * self.lack * self._marks(tokens, TEXTS)).tolist()

    def _share(self, texts: Iterable[Sequence[int]], least: int) -> float:
        return float(np.concatenate([self._marks(text, least) for text in texts]).mean())

    def _marks(self, tokens: Sequence[int], least: int) -> np.ndarray:
        found = np.zeros(len(tokens), dtype=bool)
        for i, gram in enumerate(grams(tokens, PHRASE)):
            found[i : i + PHRASE] |= self.texts_with[gram] >= least
        return found


def _texts(samples: Samples) -> list[Sequence[int]]:
    return [samples.tokens_of(i) for i in range(len(samples))]
