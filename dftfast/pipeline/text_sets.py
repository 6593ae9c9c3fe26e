"""Sets of texts as metrics take them, their embeddings kept in the run folder."""

from __future__ import annotations

import numpy as np

from dftfast.data import Document, prompt_messages
from dftfast.evaluation import TextSet
from dftfast.evaluation.embedding_cache import EmbeddingCache
from dftfast.model.embedder import Embedder
from dftfast.optimise.distributed import on_rank0
from dftfast.pipeline.run import Run


def text_set(
    run: Run,
    name: str,
    documents: list[Document],
    texts: list[str],
    unseen: Embedder,
    rows: list[dict] | None = None,
) -> TextSet:
    """Texts for the documents' prompts as metrics take them: tokenised afresh, embedded twice."""
    return TextSet(
        ids=[document.id for document in documents],
        prompts=[prompt_messages(document)[-1]["content"] for document in documents],
        texts=texts,
        token_ids=run.tokenizer.encode_batch(texts),
        embeddings=kept_embeddings(run, run.embedder, texts),
        unseen_embeddings=kept_embeddings(run, unseen, texts),
        finish_reason=[row["finish_reason"] for row in rows] if rows else None,
        name=name,
        briefs=None if rows else documents,
    )


def kept_embeddings(run: Run, embedder: Embedder, texts: list[str]) -> np.ndarray:
    """fp32 [texts, d]; from the run folder, where they are from an earlier report."""
    cache = EmbeddingCache(run.path / "embeddings")
    kept = on_rank0(lambda: cache.load(embedder, texts))
    if kept is None:
        kept = run.embed(texts, embedder).cpu().numpy()
        on_rank0(lambda: cache.save(embedder, texts, kept))
    return kept
