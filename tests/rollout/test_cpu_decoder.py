"""The C++ step on packed weights, against the decoder in fp32; a token alone and in company."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from dftfast import _C
from dftfast.model.attention import packed_causal
from dftfast.model.decoder import Decoder
from dftfast.rollout.cpu import PackedDecoder
from dftfast.rollout.paged import Inputs

from .models import tiny_decoder

NAMES = ["scalar", "avx2", "avx512", "avx512bf16", "amx"]
SHAPES = {  # query heads, kv heads, head size: groups of 1, 3, and one larger than a tile of rows
    "every head its own": (2, 2, 32),
    "three to one": (6, 2, 64),
    "seven to one": (7, 1, 128),
}


def decoder_of(
    family: str, heads: int, kv_heads: int, head_dim: int, dtype=torch.bfloat16
) -> Decoder:
    config = tiny_decoder(family, dtype).config
    config = replace(
        config,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
        attention_bias=family == "llama",
    )
    decoder = Decoder(config, torch.float32)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_((1 + 0.1 * noise if "norm" in name else 0.1 * noise).bfloat16())
    return decoder.to(dtype)


class Steps:
    """Feeds chunks of sequences to a back end; a sequence's blocks are scattered over the cache."""

    def __init__(self, decoder: Decoder):
        self.backend = PackedDecoder(decoder, 16)
        self.backend.update()
        self.backend.allocate(64)
        self.backend.cache.fill_(torch.nan)  # what was never written must not count
        self.done = [0] * 8

    def logits(self, chunks: dict[int, list[int]]) -> torch.Tensor:
        """Of every token of the chunks {sequence: its next tokens}."""
        tokens, positions, slots, offsets, lengths, table = [], [], [], [0], [], []
        for sequence, chunk in chunks.items():
            blocks = [(5 * (8 * sequence + i)) % 64 for i in range(8)]
            start = self.done[sequence]
            self.done[sequence] = end = start + len(chunk)
            tokens += chunk
            positions += range(start, end)
            slots += [blocks[p // 16] * 16 + p % 16 for p in range(start, end)]
            offsets.append(len(tokens))
            lengths.append(end)
            table.append(blocks)
        wide, narrow = {"dtype": torch.int64}, {"dtype": torch.int32}
        inputs = Inputs(
            torch.tensor(tokens, **wide),
            torch.tensor(positions, **wide),
            torch.tensor(slots, **wide),
            torch.tensor(table, **narrow),
            torch.tensor(offsets, **narrow),
            torch.tensor(lengths, **narrow),
            torch.arange(len(tokens)),
        )
        with torch.no_grad():
            return self.backend.logits(inputs)


def documents(vocab: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(2)
    return [torch.randint(vocab, (n,), generator=generator).tolist() for n in (1, 16, 37, 90, 5)]


@torch.no_grad()
@pytest.mark.parametrize("family", ["qwen3", "llama"])
@pytest.mark.parametrize("shape", SHAPES)
def test_oracle(family, shape):
    exact, decoder = (
        decoder_of(family, *SHAPES[shape], dtype) for dtype in (torch.float32, torch.bfloat16)
    )
    for document in documents(decoder.config.vocab_size):
        tokens, bounds = torch.tensor(document), torch.tensor([0, len(document)])
        expected, plain = (
            model(tokens, torch.arange(len(tokens)), packed_causal(bounds)) @ model.head_weight.T
            for model in (exact, decoder)
        )
        ours = Steps(decoder).logits({0: document})
        error, allowed = ((x.float() - expected).square().mean().sqrt() for x in (ours, plain))
        assert error <= 1.2 * allowed + 2e-3 * expected.square().mean().sqrt()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_token_does_not_depend_on_its_company(shape):
    decoder = decoder_of("qwen3", *SHAPES[shape])
    texts = documents(decoder.config.vocab_size)
    together = Steps(decoder).logits(dict(enumerate(texts))).split([len(text) for text in texts])
    for i, text in enumerate(texts):
        assert torch.equal(Steps(decoder).logits({i: text}), together[i])
        one_by_one = Steps(decoder)
        assert torch.equal(
            torch.cat([one_by_one.logits({i: [token]}) for token in text]), together[i]
        )
    chunked = Steps(decoder)
    first = chunked.logits({2: texts[2][:9], 3: texts[3][:50]}).split([9, 50])
    second = chunked.logits({3: texts[3][50:], 0: texts[0], 2: texts[2][9:]}).split([40, 1, 28])
    assert torch.equal(torch.cat([first[0], second[2]]), together[2])
    assert torch.equal(torch.cat([first[1], second[0]]), together[3])


@pytest.mark.parametrize("name", NAMES[: NAMES.index(_C.isa())])
def test_narrower_instruction_set(name):
    script = (
        f"import pytest, sys; from dftfast import _C; assert _C.isa() == {name!r}; "
        "sys.exit(pytest.main(sys.argv[1:]))"
    )
    command = [
        sys.executable,
        "-c",
        script,
        "-q",
        "-p",
        "no:cacheprovider",
        __file__,
        "-k",
        "oracle or company",
    ]
    result = subprocess.run(
        command, env={**os.environ, "DFTFAST_ISA": name}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
