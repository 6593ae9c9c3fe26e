"""A training step (forward, backward) of transformers' models, with and without `apply`.

SmolLM2-135M's and Qwen3-0.6B's widths and vocabularies with 4 layers, 4 texts of 256 tokens, every
weight trained, under the autocast of `Trainer(bf16=True)` where the machine trains in bfloat16.
`transformers/apply`: above 1, the step with `apply` is faster. "layers alone" keeps transformers'
loss: with so few layers the loss is a larger part of a step than in the whole model.

Liger Kernel's Triton kernels do not run on a CPU; on a card it is timed as well where installed.
"""

from __future__ import annotations

import copy
import importlib.util

import pytest
import torch
import transformers
from paired import record

from dftfast.integrations.forwards import restore
from dftfast.integrations.transformers import apply, undo
from dftfast.model.device import pick_device, pick_dtype

LAYERS, TEXTS, TOKENS = 4, 4, 256
SHAPES = {
    "SmolLM2-135M": transformers.LlamaConfig(
        hidden_size=576,
        intermediate_size=1536,
        num_attention_heads=9,
        num_key_value_heads=3,
        vocab_size=49152,
        num_hidden_layers=LAYERS,
        tie_word_embeddings=True,
    ),
    "Qwen3-0.6B": transformers.Qwen3Config(
        hidden_size=1024,
        intermediate_size=3072,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        vocab_size=151936,
        num_hidden_layers=LAYERS,
        tie_word_embeddings=True,
    ),
}


def by_apply(model, step):
    apply(model)
    step(model)
    undo(model)


def by_the_layers_alone(model, step):
    apply(model)
    restore(model)  # the causal model's forward, which holds the loss
    step(model)
    undo(model)


def with_liger(model):
    from liger_kernel.transformers import _apply_liger_kernel_to_instance

    _apply_liger_kernel_to_instance(model=model)
    return model


@pytest.mark.parametrize("name", SHAPES)
def test_training_step(benchmark, name):
    device = pick_device(None)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(SHAPES[name]).float().train().to(device)
    tokens = torch.randint(3, 40000, (TEXTS, TOKENS), device=device)
    low = pick_dtype(None, device) == torch.bfloat16

    def step(model):
        model.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()

    calls = {
        "apply": lambda: by_apply(model, step),
        "layers alone": lambda: by_the_layers_alone(model, step),
        "transformers": lambda: step(model),
    }
    if device.type == "cuda" and importlib.util.find_spec("liger_kernel"):
        other = with_liger(copy.deepcopy(model))
        calls["Liger"] = lambda: step(other)
    record(benchmark, calls, rounds=3)
    benchmark.extra_info["autocast"] = "bfloat16" if low else "none"
