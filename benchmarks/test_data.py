"""Reading, splitting, tokenising and embedding beside their peers, in the same run.

`ratio` in extra_info is the peer's time over ours (above 1: we are faster).
"""

from __future__ import annotations

import json
import random
import statistics
import time

import pytest
import torch

from dftfast.data import docstring_corpus, load_corpus, near_duplicates
from dftfast.model.embedder import Embedder
from dftfast.model.pretrained import resolve_embedder, resolve_model
from dftfast.model.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def documents():
    return load_corpus([docstring_corpus()], limit=2000)


def compare(benchmark, ours, peer, peer_name: str, rounds: int = 3) -> None:
    def seconds(function) -> float:
        started = time.perf_counter()
        function()
        return time.perf_counter() - started

    ours(), peer()
    pairs = [(seconds(ours), seconds(peer)) for _ in range(rounds)]
    benchmark.pedantic(ours, rounds=1)
    mine, theirs = (statistics.median(column) for column in zip(*pairs))
    benchmark.extra_info.update(
        peer=peer_name, seconds=mine, peer_seconds=theirs, ratio=theirs / mine
    )


def test_reading_beside_datasets(benchmark, tmp_path):
    datasets = pytest.importorskip("datasets")
    path = tmp_path / "corpus.jsonl"
    rows = [
        json.dumps({"id": str(i), "title": f"Title {i}", "text": f"{i} " + "word " * 120})
        for i in range(20_000)
    ]
    path.write_text("\n".join(rows))
    runs = iter(range(100))
    compare(
        benchmark,
        lambda: load_corpus([path]),
        lambda: list(
            datasets.load_dataset(
                "json", data_files=str(path), cache_dir=tmp_path / f"c{next(runs)}", split="train"
            )
        ),
        "datasets.load_dataset, rows as dicts",
    )


def test_tokenising_beside_transformers(benchmark, documents):
    from transformers import AutoTokenizer

    ours, theirs = (
        Tokenizer.from_folder(resolve_model()),
        AutoTokenizer.from_pretrained(resolve_model()),
    )
    texts = [document.text for document in documents]
    compare(
        benchmark,
        lambda: ours.encode_batch(texts),
        lambda: theirs(texts, add_special_tokens=False),
        "transformers, fast tokenizer, batched",
    )


def test_embedding_beside_sentence_transformers(benchmark, documents):
    from sentence_transformers import SentenceTransformer

    texts = [document.text for document in documents[:200]]
    ours = Embedder(device="cpu")
    theirs = SentenceTransformer(
        str(resolve_embedder()), device="cpu", model_kwargs={"dtype": torch.float32}
    )
    agreement = torch.nn.functional.cosine_similarity(
        ours.encode(texts), torch.from_numpy(theirs.encode(texts))
    )
    compare(
        benchmark,
        lambda: ours.encode(texts),
        lambda: theirs.encode(texts, show_progress_bar=False),
        "sentence-transformers, float32, its batches of 32",
    )
    benchmark.extra_info.update(least_cosine=float(agreement.min()))


def test_near_duplicates_beside_tfidf(benchmark, documents):
    """Peer: cosine of TF-IDF over the same 8-word shingles, all pairs, in scikit-learn (sparse)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = [document.text for document in documents]
    random.Random(0).shuffle(texts)
    held_out, train = texts[:400], texts[400:]

    def peer():
        vectors = TfidfVectorizer(ngram_range=(8, 8)).fit(held_out)
        return (vectors.transform(train) @ vectors.transform(held_out).T).max(axis=1)

    compare(
        benchmark,
        lambda: near_duplicates(train, held_out),
        peer,
        "scikit-learn TF-IDF of the same shingles",
    )
