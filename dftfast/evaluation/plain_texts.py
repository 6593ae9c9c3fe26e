"""Texts in, estimates out: the evaluation of plain strings."""

from __future__ import annotations

from collections.abc import Sequence

from dftfast.evaluation.estimate import Estimate
from dftfast.evaluation.suite import evaluate
from dftfast.evaluation.textset import TextSet
from dftfast.evaluation.word_tokens import WordTokens
from dftfast.model.embedder import Embedder
from dftfast.model.pretrained import WORDLLAMA, resolve_model
from dftfast.model.tokenizer import Tokenizer


def evaluate_texts(
    outputs: Sequence[str],
    human: Sequence[str],
    *,
    paired: bool = False,
    embedder: str | None = None,
    tokenizer: str | None = None,
    rounds: int = 1000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Every metric of how far the outputs are from human texts, by name.

    Args:
        paired: the texts at the same place answer the same prompt; otherwise the two are
            independent samples.
        embedder: sentence-transformers folder or hub id; None is all-MiniLM-L6-v2. The unseen
            embedder is WordLlama.
        tokenizer: model whose tokens are counted; None counts words and punctuation marks.
        rounds: of the bootstrap and of permutation tests.
    """
    sets = [list(outputs), list(human)]
    tokens, special = _tokens(sets, tokenizer)
    encode, unseen = Embedder(embedder).encode, Embedder(WORDLLAMA).encode
    own, reference = (
        TextSet(
            ids=[f"{'' if paired else name}{i}" for i in range(len(texts))],
            prompts=[""] * len(texts),
            texts=texts,
            token_ids=ids,
            embeddings=encode(texts).numpy(),
            unseen_embeddings=unseen(texts).numpy(),
            name=name,
        )
        for name, texts, ids in zip(("outputs", "human"), sets, tokens)
    )
    return evaluate(own, reference, exclude=special, rounds=rounds, seed=seed)


def _tokens(
    sets: list[list[str]], tokenizer: str | None
) -> tuple[list[list[list[int]]], tuple[int, ...]]:
    """The token ids of every set in one vocabulary, and the special ones."""
    if tokenizer:
        own = Tokenizer.from_folder(resolve_model(tokenizer))
        return [own.encode_batch(texts) for texts in sets], tuple(own.special_ids)
    words = WordTokens()
    return [[words.encode(text) for text in texts] for texts in sets], ()
