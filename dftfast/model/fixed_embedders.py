"""Texts to vectors without a network: word vectors of WordLlama, and character n-grams.

No training signal follows either: they are for looking at what one has fitted. `Embedder` wraps
them. The whole of a text counts, however long.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import embedding_bag, normalize

from dftfast.model.pretrained import WORDLLAMA, resolve_embedder

CHARACTER_NGRAMS = "character-ngrams"


class WordVectors:
    """Means of the vectors of a text's tokens: 32,000 tokens, 256 dimensions.

    The vectors were made from the token embeddings of large language models and trained by contrast
    on pairs of sentences (github.com/dleemiller/WordLlama, `l2_supercat_256`). So they say what a
    text is about, by other data and means than MiniLM does, and nothing of the order of its words.
    """

    dimension = 256

    def __init__(self) -> None:
        from safetensors.torch import load_file
        from tokenizers import Tokenizer

        folder = resolve_embedder(WORDLLAMA)
        vectors = load_file(folder / "l2_supercat_256.safetensors")["embedding.weight"]
        self._vectors = vectors.float()
        self._tokenizer = Tokenizer.from_file(str(folder / "l2_supercat_tokenizer_config.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """fp32 [texts, 256], each of unit length; that of an empty text is 0."""
        encoded = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        ids = [each.ids for each in encoded]
        offsets = torch.tensor([0, *map(len, ids)]).cumsum(0)[:-1]
        flat = torch.tensor([token for each in ids for token in each], dtype=torch.int64)
        return normalize(embedding_bag(flat, self._vectors, offsets, mode="mean"), dim=1)


class CharacterNgrams:
    """Log counts of character 3- to 5-grams within words, hashed to 512 dimensions.

    Nothing is learned, so they are the same for every corpus and run: a lexical view. The
    projection keeps distances to about 1/sqrt(512) (Johnson and Lindenstrauss; sparse signs after
    Li, Hastie and Church, KDD 2006).
    """

    dimension = 512

    def __init__(self) -> None:
        from sklearn.feature_extraction.text import HashingVectorizer
        from sklearn.random_projection import SparseRandomProjection

        self._counts: Any = HashingVectorizer(
            analyzer="char_wb",
            ngram_range=(3, 5),
            n_features=2**18,
            norm=None,  # pyright: ignore[reportArgumentType]
            alternate_sign=False,
            lowercase=False,
            dtype="float32",  # pyright: ignore[reportArgumentType]
        )
        self._projection: Any = SparseRandomProjection(
            self.dimension,  # pyright: ignore[reportArgumentType] (types taken from the defaults)
            random_state=0,
        )
        self._projection.fit(self._counts.transform([""]))

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """fp32 [texts, 512], each of unit length; that of an empty text is 0."""
        counts = self._counts.transform(texts).log1p()
        return normalize(torch.from_numpy(self._projection.transform(counts).toarray()), dim=1)


BY_NAME = {WORDLLAMA: WordVectors, CHARACTER_NGRAMS: CharacterNgrams}
