"""Style of a text as a short vector: what a reader notices without understanding a word."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, pstdev

import torch
from torch import Tensor

from dftfast.runtime.words import WORD, lower_words, sentences

# Share of words, by name of the feature.
_WORD_CLASSES = {
    "articles": "a an the",
    "first person": "i me my mine we us our ours i'm i've i'll i'd we're we've we'll",
    "second person": "you your yours you're you've you'll",
    "conjunctions": "and but or so because if while although though",
    "hedges": "maybe perhaps might could may seems seem probably likely possibly",
    "negations": (
        "no not never none nothing don't doesn't didn't can't won't isn't aren't wasn't cannot"
    ),
}
_CLASS_OF = {word: name for name, words in _WORD_CLASSES.items() for word in words.split()}
# Occurrences for each word of text, by name of the feature.
_MARKS = {
    "commas": ",",
    "semicolons and colons": ";:",
    "question marks": "?",
    "exclamation marks": "!",
    "em dashes": "—–",
    "hyphens": "-",
    "quotation marks": '"“”«»',
    "brackets": "()[]",
    "list and heading marks": "*#•",
}

STYLE_FEATURES = (
    "log words",
    "word length",
    "sentence length",
    "spread of sentence length",
    "log paragraphs",
    "type-token ratio",
    "repeated trigrams",
    "same start",
    "capitals",
    "digits",
    "not ASCII",
    "contractions",
    *_MARKS,
    *_WORD_CLASSES,
)


def style_features(text: str) -> list[float]:
    """The features named by `STYLE_FEATURES`, each of the order of 1 or below at any length.

    Counts enter as rates or logarithms. The type-token ratio is Guiraud's, types / sqrt(tokens),
    which depends little on length; a sentence has the same start as the one before when its first
    word is the same.
    """
    words = lower_words(text)
    count, characters = max(len(words), 1), max(len(text), 1)
    in_sentences = [WORD.findall(sentence) for sentence in sentences(text)]
    lengths = [math.log1p(len(found)) for found in in_sentences] or [0.0]
    starts = [found[0].lower() for found in in_sentences]
    trigrams = list(zip(words, words[1:], words[2:]))
    classes = dict.fromkeys(_WORD_CLASSES, 0)
    for word in words:
        if word in _CLASS_OF:
            classes[_CLASS_OF[word]] += 1
    return [
        math.log1p(len(words)),
        fmean(map(len, words)) if words else 0.0,
        fmean(lengths),
        pstdev(lengths),
        math.log1p(len([part for part in text.split("\n") if part.strip()])),
        len(set(words)) / math.sqrt(count),
        1 - len(set(trigrams)) / len(trigrams) if trigrams else 0.0,
        sum(a == b for a, b in pairwise(starts)) / max(len(starts) - 1, 1),
        sum(map(str.isupper, text)) / characters,
        sum(map(str.isdigit, text)) / characters,
        0.0 if text.isascii() else sum(ord(c) > 127 for c in text) / characters,
        sum("'" in word for word in words) / count,
        *(sum(map(text.count, marks)) / count for marks in _MARKS.values()),
        *(uses / count for uses in classes.values()),
    ]


def style_matrix(texts: Sequence[str]) -> Tensor:
    """fp32 [n, len(STYLE_FEATURES)]."""
    return torch.tensor([style_features(text) for text in texts]).reshape(
        len(texts), len(STYLE_FEATURES)
    )
