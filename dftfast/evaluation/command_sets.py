"""The sets of texts of the evaluate command: checked, with their tokens and embeddings."""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from dftfast.data import load_corpus
from dftfast.data.document import Document, parse_row
from dftfast.evaluation.embedding_cache import EmbeddingCache
from dftfast.evaluation.glyphs import plain_glyphs
from dftfast.evaluation.textset import TextSet, align
from dftfast.evaluation.word_tokens import WordTokens
from dftfast.model.embedder import Embedder
from dftfast.model.pretrained import WORDLLAMA, resolve_model
from dftfast.model.tokenizer import Tokenizer
from dftfast.runtime.errors import UserError

log = logging.getLogger(__name__)

Rows = Mapping[str, Sequence[Sequence[dict]]]  # system -> the generations of each draw
Sets = Mapping[str, Sequence[TextSet]]  # system -> its draws; "human" -> the one reference


def text_sets(rows: Rows, options: Namespace) -> dict[str, list[TextSet]]:
    """The draws of each system, and the human texts as the only one of "human".

    Each system answers the prompts of the reference in its order, or none.
    """
    sets = {
        name: [
            TextSet(
                ids=[r["id"] for r in values],
                texts=[r["text"] for r in values],
                prompts=[r.get("prompt") or r.get("title") or "" for r in values],
                finish_reason=[r.get("finish_reason") for r in values],
                name=options.reference if name == "human" else name,
            )
            for values in draws
        ]
        for name, draws in rows.items()
    }
    (human,), (human_rows,) = sets["human"], rows["human"]
    if all(row.get("title") for row in human_rows):
        human.briefs = [_brief(row, options.reference) for row in human_rows]
    for name, draws in sets.items():
        texts = draws[0]  # all draws have its ids
        if len(texts) < 4:
            raise UserError(f"{texts.name}: {len(texts)} texts; at least 4 are needed")
        if name != "human" and not set(texts.ids).isdisjoint(human.ids):
            align(texts, human)
        elif name != "human" and options.judge:
            raise UserError(
                f"--judge: {name} answers none of the prompts of {options.reference}; a judge "
                "compares answers to one prompt"
            )
    return sets


def _brief(row: dict, path: str) -> Document:
    try:
        return parse_row(row)
    except UserError as error:
        raise UserError(f"{path}, id {row['id']!r}: {error}") from None


def embed(sets: Sets, options: Namespace) -> str:
    """Fill in the embeddings of every set; returns the name of the embedder."""
    options.unseen_embedder = options.unseen_embedder or WORDLLAMA
    embedders = {
        "embeddings": Embedder(options.embedder),
        "unseen_embeddings": Embedder(options.unseen_embedder),
    }
    encode = (
        EmbeddingCache(Path(options.out) / "embeddings").encode
        if options.out
        else lambda embedder, texts, progress: embedder.encode(texts, progress).numpy()
    )
    every = [texts for draws in sets.values() for texts in draws]
    with tqdm(total=len(embedders) * sum(map(len, every)), desc="embed", unit="text") as bar:
        for field, embedder in embedders.items():
            for texts in every:
                plain = map(plain_glyphs, texts.texts) if options.plain_glyphs else texts.texts
                setattr(texts, field, encode(embedder, list(plain), bar.update))
    for embedder in embedders.values():
        if embedder.windowed:
            log.info(
                "%d of %d texts are longer than %s reads at once (%d tokens): embedded in windows",
                embedder.windowed,
                sum(map(len, every)),
                embedder.name,
                embedder.max_tokens,
            )
    return embedders["embeddings"].name


def corpus_texts(options: Namespace) -> list[str] | None:
    """The texts of `--corpus`; None without it."""
    if not options.corpus:
        return None
    return [document.text for document in load_corpus(options.corpus)]


def tokenise(
    sets: Sets, rows: Rows, tokenizer: str | None
) -> tuple[tuple[int, ...], Callable[[int], str]]:
    """Fill in the token ids of every set in one vocabulary.

    Returns the special ones, and a function from a token's id to its text.
    """
    pairs = [pair for name, draws in sets.items() for pair in zip(draws, rows[name])]
    if tokenizer:
        own = Tokenizer.from_folder(resolve_model(tokenizer))
        for texts, _ in pairs:
            texts.token_ids = own.encode_batch(list(texts.texts))
        return tuple(own.special_ids), lambda token: own.decode([token])
    if all(row.get("token_ids") is not None for _, values in pairs for row in values):
        for texts, values in pairs:
            texts.token_ids = [row["token_ids"] for row in values]
        return (), str
    log.info("tokens are words and punctuation marks; --tokenizer counts those of a model")
    words = WordTokens()
    for texts, _ in pairs:
        texts.token_ids = [words.encode(text) for text in texts.texts]
    return (), words.names().__getitem__
