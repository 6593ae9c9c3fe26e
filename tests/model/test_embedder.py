"""Texts longer than an embedder reads are embedded whole, in windows."""

import pytest
import torch

from dftfast.model.embedder import Embedder


@pytest.fixture(scope="module")
def embedder():
    return Embedder()


def test_a_long_text_is_the_mean_of_its_windows_by_length(embedder):
    room = embedder.max_tokens - 2
    first, second = " ".join(["river"] * room), " ".join(["engine"] * (room // 2))
    before = embedder.windowed
    a, b, whole, short = embedder.encode([first, second, f"{first} {second}", "A short text."])
    assert embedder.windowed == before + 1
    expected = torch.nn.functional.normalize(a * room + b * (room // 2), dim=0)
    assert torch.nn.functional.cosine_similarity(whole, expected, dim=0) > 0.999
    assert whole.norm() == pytest.approx(1, abs=1e-3)
    alone = embedder.encode(["A short text."])[0]
    assert torch.nn.functional.cosine_similarity(short, alone, dim=0) > 0.999


def test_the_end_of_a_text_counts(embedder):
    start = "The committee met in the morning and wrote down what it had found. " * 30
    end = "the best of the best of things " * 60
    one, other = embedder.encode([start, start + end])
    assert torch.nn.functional.cosine_similarity(one, other, dim=0) < 0.95


def test_progress_counts_texts_not_windows(embedder):
    seen = []
    embedder.encode(["word " * 700, "a", "b"], seen.append, batch_size=1)
    assert sum(seen) == 3
