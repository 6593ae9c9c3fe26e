"""Small sets of texts: random ones, and docstrings of the standard library."""

from __future__ import annotations

import ast
import importlib
import inspect

import numpy as np
import torch

from dftfast.distribution.samples import Samples

VOCAB = 50
MODULES = (
    "argparse",
    "asyncio.events",
    "datetime",
    "decimal",
    "email.message",
    "http.client",
    "logging",
    "pathlib",
    "subprocess",
    "tarfile",
    "zipfile",
    "threading",
)


def random_samples(count, seed, shift=0.0, dimensions=6, vocab=VOCAB):
    rng = np.random.default_rng(seed)
    tokens = [rng.integers(0, vocab, size=rng.integers(1, 12)).tolist() for _ in range(count)]
    embeddings = torch.from_numpy(rng.normal(shift, 1, size=(count, dimensions))).float()
    words = lambda numbers: " ".join(f"{number:04}" for number in numbers)
    return Samples.of(embeddings, tokens, list(map(words, tokens)))


def fitted(discrepancy, human):
    discrepancy.fit(human)
    return discrepancy


def standard_library_docstrings():
    texts = set()
    for module in map(importlib.import_module, MODULES):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                text = " ".join((ast.get_docstring(node) or "").split())
                if len(text.split()) >= 6:
                    texts.add(text)
    return sorted(texts)


class Embedding:
    """Hashed words as embeddings and words as tokens, for texts known beforehand.

    The last token is the end.
    """

    def __init__(self, texts):
        from sklearn.feature_extraction.text import HashingVectorizer

        self.words = sorted({word for text in texts for word in text.split()})
        self.ids = {word: i for i, word in enumerate(self.words)}
        self.vectorizer = HashingVectorizer(n_features=64, norm="l2")
        self.vocab = len(self.words) + 1

    def samples(self, texts):
        embeddings = torch.from_numpy(self.vectorizer.transform(texts).toarray()).float()
        return Samples.of(
            embeddings, [[*(self.ids[w] for w in t.split()), self.vocab - 1] for t in texts], texts
        )
