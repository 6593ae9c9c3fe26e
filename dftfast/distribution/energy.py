"""Energy distance between the distributions of one number a text.

The number is its length, that beside the length asked for, its repetition, how many of its phrases
are common ones, or how much of its prompt it takes up.
"""

from __future__ import annotations

import re
from collections import Counter

import torch
from torch import Tensor

from dftfast.distribution.samples import Samples
from dftfast.distribution.style import words_of

PROMPT_WORD = re.compile(r"[^\W_]{4,}")
ASKED = re.compile(r"(\d+) words")
PHRASE = 3  # words
# A word in more than this share of the prompts belongs to their form, not to one of them.
COMMON = 0.5


def mean_distance(x: Tensor, y: Tensor) -> Tensor:
    """float64 [n]: mean_j |x_i − y_j|, in O((n + m) log m) by sorting y."""
    y = y.sort().values
    sums = torch.cat([y.new_zeros(1), y.cumsum(0)])
    below = torch.searchsorted(y, x)
    return (x * (2 * below - len(y)) + sums[-1] - 2 * sums[below]) / len(y)


class Energy:
    """`2 E|a − b| − E|a − a'| − E|b − b'|` of a feature, unbiased.

    It is twice the Cramér distance ∫ (F_q − F_p)². Székely and Rizzo 2013, "Energy statistics",
    equation 2.1. It is also MMD² with the kernel −|a − b|.
    """

    def feature(self, samples: Samples) -> Tensor:
        """float64 [n]."""
        raise NotImplementedError

    def fit(self, human: Samples) -> None:
        self.human = self.feature(human)
        self.human_within = float(_within(self.human).mean())

    def value(self, samples: Samples) -> float:
        return self.distance(self.feature(samples))

    def distance(self, a: Tensor) -> float:
        """The discrepancy of features a, float64 [n]."""
        return (
            float(2 * mean_distance(a, self.human).mean() - _within(a).mean()) - self.human_within
        )

    def witness(self, samples: Samples) -> Tensor:
        """fp32 [n]: `2 mean_{a' ≠ a} |a − a'| − 2 mean_b |a − b|`."""
        a = self.feature(samples)
        return (2 * (_within(a) - mean_distance(a, self.human))).float()


class LengthEnergy(Energy):
    """Of the log of the tokens of a text, so that half and double as long are equally far."""

    def feature(self, samples: Samples) -> Tensor:
        return samples.lengths.clamp(min=1).double().log()


class AskedLengthEnergy(Energy):
    """Of the log of a text's words over the number that its prompt asks for.

    A prompt asks as in "about 40 words"; where it asks for none, the log is 0.

    The distribution of lengths may be right although no text has the length asked for.
    """

    def feature(self, samples: Samples) -> Tensor:
        asked = [
            int(match[1]) if (match := ASKED.search(prompt)) else 0 for prompt in _prompts(samples)
        ]
        ratios = [
            max(len(words_of(text)), 1) / n if n else 1.0 for n, text in zip(asked, samples.texts)
        ]
        return torch.tensor(ratios, dtype=torch.float64).log()


class RepetitionEnergy(Energy):
    """Of the share of a text's words that it has used before, in any case: 1 − types / tokens."""

    def feature(self, samples: Samples) -> Tensor:
        words = list(map(words_of, samples.texts))
        return torch.tensor(
            [1 - len(set(w)) / len(w) if w else 0.0 for w in words], dtype=torch.float64
        )


class PhraseEnergy(Energy):
    """Of the share of a text's runs of three words that a human text for another prompt has.

    How much the texts of a corpus share with each other, text by text: self-BLEU's subject. N-gram
    L2 sees only how often each phrase occurs, in which the common ones drown the rest.
    """

    def fit(self, human: Samples) -> None:
        self.of_prompt: dict[str, set[tuple[str, ...]]] = {}
        for prompt, text in zip(_prompts(human), human.texts):
            self.of_prompt.setdefault(prompt, set()).update(_phrases(text))
        self.prompts_with = Counter(
            phrase for phrases in self.of_prompt.values() for phrase in phrases
        )
        super().fit(human)

    def feature(self, samples: Samples) -> Tensor:
        shares = []
        for prompt, text in zip(_prompts(samples), samples.texts):
            own, phrases = self.of_prompt.get(prompt, set()), _phrases(text)
            shared = sum(self.prompts_with[phrase] > (phrase in own) for phrase in phrases)
            shares.append(shared / max(len(phrases), 1))
        return torch.tensor(shares, dtype=torch.float64)


class CoverageEnergy(Energy):
    """Of the share of its prompt's words that a text takes up.

    Words of four letters or digits at least, in any case; those in over half of the human texts'
    prompts do not count. A prompt without words counts as covered.
    """

    def fit(self, human: Samples) -> None:
        prompts_with = Counter(word for prompt in _prompts(human) for word in _words(prompt))
        self.common = {word for word, count in prompts_with.items() if count > COMMON * len(human)}
        super().fit(human)

    def feature(self, samples: Samples) -> Tensor:
        wanted = [_words(prompt) - self.common for prompt in _prompts(samples)]
        shares = [
            len(w & _words(text)) / len(w) if w else 1.0 for w, text in zip(wanted, samples.texts)
        ]
        return torch.tensor(shares, dtype=torch.float64)


def _prompts(samples: Samples) -> list[str]:
    if samples.prompts is None:
        raise ValueError("coverage, phrases and the length asked for need Samples with prompts")
    return samples.prompts


def _phrases(text: str) -> list[tuple[str, ...]]:
    words = words_of(text)
    return list(zip(*(words[i:] for i in range(PHRASE))))


def _words(text: str) -> set[str]:
    return {word.lower() for word in PROMPT_WORD.findall(text)}


def _within(a: Tensor) -> Tensor:
    return mean_distance(a, a) * len(a) / (len(a) - 1)
