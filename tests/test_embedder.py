"""Embeddings agree with sentence-transformers in float32, in order, whatever the batches."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from dftfast.model.embedder import Embedder
from dftfast.model.fixed_embedders import CharacterNgrams
from dftfast.model.pretrained import resolve_embedder
from dftfast.runtime.errors import UserError

TEXTS = [
    "A short note.",
    "Meetings on Friday will move to the large room, " * 12,
    "",
    "Grüße aus München — bis bald!",
    "The quick brown fox jumps over the lazy dog.",
    "A fast brown fox leaps over a lazy dog.",
]


@pytest.fixture(scope="module")
def embedder():
    return Embedder(device="cpu")


def test_agrees_with_float32(embedder):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(
        str(resolve_embedder()), device="cpu", model_kwargs={"dtype": torch.float32}
    )
    expected = torch.from_numpy(model.encode(TEXTS, show_progress_bar=False))
    found = embedder.encode(TEXTS)
    assert found.dtype == torch.float32 and found.shape == (len(TEXTS), embedder.dimension)
    assert torch.nn.functional.cosine_similarity(found, expected).min() > 0.9999
    assert (found.norm(dim=1) - 1).abs().max() < 1e-3  # rounded to float16
    assert torch.equal(found, found.half().float())


@pytest.mark.parametrize("name", [None, "character-ngrams", "wordllama"])
def test_order_batches_and_progress(name, embedder):
    model = embedder if name is None else Embedder(name)
    seen = []
    found = model.encode(TEXTS, progress=seen.append, batch_size=2)
    assert seen == [2, 2, 2]
    alone = torch.cat([model.encode([text]) for text in TEXTS])
    assert (
        torch.nn.functional.cosine_similarity(found, alone).nan_to_num(1.0)[[0, 1, 3, 4, 5]].min()
        > 0.9999
    )
    assert (
        found[4] @ found[5] > found[4] @ found[1]
    )  # the two foxes are closer than fox and meetings
    assert model.encode([]).shape == (0, model.dimension)


def test_character_ngrams_are_fixed_and_keep_distances():
    first, second = Embedder("character-ngrams"), CharacterNgrams()
    assert torch.equal(first.encode(TEXTS), second.encode(TEXTS).half().float())
    counts = second._counts.transform(TEXTS[3:]).log1p().toarray()
    counts = torch.nn.functional.normalize(torch.from_numpy(counts), dim=1)
    projected = first.encode(TEXTS[3:])
    assert (projected @ projected.T - counts @ counts.T).abs().max() < 4 / 512**0.5


def test_word_vectors_are_the_mean_of_those_of_the_tokens():
    folder = resolve_embedder("wordllama")
    table = load_file(folder / "l2_supercat_256.safetensors")["embedding.weight"].float()
    tokenizer = Tokenizer.from_file(str(folder / "l2_supercat_tokenizer_config.json"))
    found = Embedder("wordllama").encode(TEXTS)
    for text, vector in zip(TEXTS, found):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        mean = table[ids].mean(0) if ids else torch.zeros(256)
        exact = torch.nn.functional.normalize(mean, dim=0)
        torch.testing.assert_close(vector, exact, rtol=2**-11, atol=1e-7)  # rounded to float16


def test_word_vectors_see_meaning_where_no_word_is_shared():
    car, automobile, bread = Embedder("wordllama").encode(
        ["The car would not start.", "An automobile whose engine died", "She baked fresh bread."]
    )
    assert car @ automobile > 0.2 > car @ bread


def test_folder_that_is_no_embedder(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="cannot load"):
        Embedder(str(tmp_path))
