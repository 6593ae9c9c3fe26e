"""How long the texts of a corpus and their prompts are, in tokens."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dftfast.data import load_corpus, prompt_messages
from dftfast.runtime.words import words

TOKENS_PER_WORD = 1.35  # of English text in the vocabularies of Qwen3 and SmolLM2
TEMPLATE = 12  # tokens of the chat template


@dataclass(frozen=True)
class TextLengths:
    """Tokens of prompts and texts, int64 [texts] each, and where the figures are from."""

    prompts: np.ndarray
    texts: np.ndarray
    origin: str

    def __len__(self) -> int:
        return len(self.texts)

    def first(self, count: int) -> TextLengths:
        """So many of them, in turns where there are fewer."""
        rows = np.arange(count) % max(len(self), 1)
        return TextLengths(self.prompts[rows], self.texts[rows], self.origin)


def assumed_lengths(count: int, prompt: int, text: int, spread: float = 0.6) -> TextLengths:
    """Texts whose lengths are log-normal, in an order that is the same every time.

    Args:
        prompt: tokens of every prompt.
        text: mean tokens of a text.
        spread: standard deviation of the length's logarithm.
    """
    normal = statistics.NormalDist(-(spread**2) / 2, spread)
    quantiles = [normal.inv_cdf((i + 0.5) / count) for i in range(count)]
    texts = np.maximum(1, np.rint(text * np.exp(quantiles))).astype(np.int64)
    texts = np.random.default_rng(0).permutation(texts)
    origin = f"{count:,} texts of {text:,} tokens (log-normal) after {prompt:,} are assumed"
    return TextLengths(np.full(count, prompt), texts, origin)


def corpus_lengths(files: Sequence[str], **options) -> TextLengths:
    """Lengths of a corpus by its words, for which no tokenizer is needed.

    Args:
        options: of `load_corpus`.
    """
    documents = load_corpus(list(files), **options)
    prompts = [" ".join(m["content"] for m in prompt_messages(d)) for d in documents]
    tokens = lambda text: round(TOKENS_PER_WORD * len(words(text)))
    return TextLengths(
        np.array([TEMPLATE + tokens(prompt) for prompt in prompts]),
        np.array([1 + tokens(document.text) for document in documents]),
        f"{len(documents):,} texts of {', '.join(files)}, {TOKENS_PER_WORD} tokens a word",
    )
