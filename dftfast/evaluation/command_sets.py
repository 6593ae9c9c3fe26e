"""The sets of texts of the evaluate command: checked, with their tokens and embeddings."""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from dftfast.data import load_corpus
from dftfast.data.document import parse_row
from dftfast.evaluation.embedding_cache import EmbeddingCache
from dftfast.evaluation.textset import TextSet, align
from dftfast.evaluation.word_tokens import WordTokens
from dftfast.model.embedder import Embedder
from dftfast.model.pretrained import resolve_model
from dftfast.model.tokenizer import Tokenizer
from dftfast.runtime.errors import UserError

log = logging.getLogger(__name__)

Rows = Mapping[str, Sequence[dict]]  # system, or "human" -> its generations


def text_sets(rows: Rows, options: Namespace) -> dict[str, TextSet]:
    """The texts of each system and the human ones.

    Each system answers the prompts of the reference in its order, or none.
    """
    sets = {
        name: TextSet(
            ids=[r["id"] for r in values],
            texts=[r["text"] for r in values],
            prompts=[r.get("prompt") or r.get("title") or "" for r in values],
            finish_reason=[r.get("finish_reason") for r in values],
            name=options.reference if name == "human" else name,
        )
        for name, values in rows.items()
    }
    if all(row.get("title") for row in rows["human"]):
        sets["human"].briefs = [parse_row(row) for row in rows["human"]]
    for name, texts in sets.items():
        if len(texts) < 4:
            raise UserError(f"{texts.name}: {len(texts)} texts; at least 4 are needed")
        if name != "human" and not set(texts.ids).isdisjoint(sets["human"].ids):
            align(texts, sets["human"])
        elif name != "human" and options.judge:
            raise UserError(
                f"--judge: {name} answers none of the prompts of {options.reference}; a judge "
                "compares answers to one prompt"
            )
    return sets


def embed(sets: Mapping[str, TextSet], options: Namespace) -> str:
    """Fill in the embeddings of every set; returns the name of the embedder."""
    embedders = {"embeddings": Embedder(options.embedder)}
    if options.unseen_embedder:
        embedders["unseen_embeddings"] = Embedder(options.unseen_embedder)
    encode = (
        EmbeddingCache(Path(options.out) / "embeddings").encode
        if options.out
        else lambda embedder, texts, progress: embedder.encode(texts, progress).numpy()
    )
    with tqdm(
        total=len(embedders) * sum(map(len, sets.values())), desc="embed", unit="text"
    ) as bar:
        for field, embedder in embedders.items():
            for texts in sets.values():
                setattr(texts, field, encode(embedder, texts.texts, bar.update))
    return embedders["embeddings"].name


def corpus_texts(options: Namespace) -> list[str] | None:
    """The texts of `--corpus`; None without it."""
    if not options.corpus:
        return None
    return [document.text for document in load_corpus(options.corpus)]


def tokenise(
    sets: Mapping[str, TextSet], rows: Rows, tokenizer: str | None
) -> tuple[tuple[int, ...], Callable[[int], str]]:
    """Fill in the token ids of every set in one vocabulary.

    Returns the special ones, and a function from a token's id to its text.
    """
    if tokenizer:
        own = Tokenizer.from_folder(resolve_model(tokenizer))
        for texts in sets.values():
            texts.token_ids = own.encode_batch(list(texts.texts))
        return tuple(own.special_ids), lambda token: own.decode([token])
    if all(row.get("token_ids") is not None for values in rows.values() for row in values):
        for name, texts in sets.items():
            texts.token_ids = [row["token_ids"] for row in rows[name]]
        return (), str
    log.info("tokens are words and punctuation marks; --tokenizer counts those of a model")
    words = WordTokens()
    for texts in sets.values():
        texts.token_ids = [words.encode(text) for text in texts.texts]
    return (), words.names().__getitem__
