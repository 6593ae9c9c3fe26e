"""Small random models for the rollout tests, transformers' twins of them, and requests."""

from __future__ import annotations

import random

import torch

from dftfast.model.config import ModelConfig
from dftfast.model.decoder import Decoder
from dftfast.model.weights import load_decoder
from dftfast.rollout import Request, Sampler

SIZES = dict(
    vocab_size=211,
    hidden_size=64,
    intermediate_size=96,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=32,
    num_hidden_layers=2,
    max_position_embeddings=512,
    eos_token_id=None,
    bos_token_id=None,
    pad_token_id=0,
)


def tiny_reference(family: str, folder):
    """The decoder in fp32 and transformers' model, of the same random weights in `folder`."""
    import transformers

    torch.manual_seed(0)
    tied = family == "llama"
    kind = {"qwen3": "Qwen3", "llama": "Llama"}[family]
    config = getattr(transformers, f"{kind}Config")(**SIZES, tie_word_embeddings=tied)
    reference = getattr(transformers, f"{kind}ForCausalLM")(config).float().eval()
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.add_(
                torch.randn_like(parameter) * 0.1
            )  # the default start is nearly uniform in its logits
    reference.save_pretrained(folder)
    return load_decoder(folder, torch.float32, "cpu"), reference


def tiny_decoder(family: str, dtype: torch.dtype) -> Decoder:
    s = SIZES
    config = ModelConfig(
        model_type=family,
        vocab_size=s["vocab_size"],
        hidden_size=s["hidden_size"],
        intermediate_size=s["intermediate_size"],
        num_layers=s["num_hidden_layers"],
        num_heads=s["num_attention_heads"],
        num_kv_heads=s["num_key_value_heads"],
        head_dim=s["head_dim"],
        rms_norm_eps=1e-6,
        rope_theta=10000.0,
        rope_scaling=None,
        tie_word_embeddings=family == "llama",
        qk_norm=family == "qwen3",
        attention_bias=False,
        max_position_embeddings=s["max_position_embeddings"],
        eos_token_ids=(),
    )
    decoder = Decoder(config, dtype)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.1 * noise if "norm" in name else 0.1 * noise)
    return decoder


def random_prompt(length: int, vocab_size: int, seed: int) -> list[int]:
    rng = random.Random(seed)
    return [rng.randrange(vocab_size) for _ in range(length)]


def requests_for_fuzz(seed: int, count: int, vocab: int) -> list[Request]:
    """A random mix of lengths, settings and numbers of samples; half of the prompts begin alike."""
    rng = random.Random(seed)
    common = [rng.randrange(vocab) for _ in range(20)]
    requests = []
    for i in range(count):
        prompt = (common if rng.random() < 0.5 else []) + [
            rng.randrange(vocab) for _ in range(rng.randint(1, 25))
        ]
        sampler = Sampler(
            temperature=rng.choice([0.0, 0.7, 1.0, 1.3]),
            top_k=rng.choice([0, 0, 5]),
            top_p=rng.choice([1.0, 1.0, 0.8]),
            min_p=rng.choice([0.0, 0.0, 0.1]),
            repetition_penalty=rng.choice([1.0, 1.0, 1.2]),
            max_tokens=rng.randint(1, 20),
            banned_token_ids=rng.choice([(), (3, 4)]),
            logit_bias=rng.choice([{}, {7: 2.0}]),
        )
        requests.append(
            Request(i, prompt, sampler, seed=rng.choice([0, 7]), n=rng.choice([1, 1, 2, 4]))
        )
    return requests


def outputs(batch) -> dict:
    """(request, sample) -> (tokens, finish reason)."""
    keys = zip(batch.request.tolist(), batch.sample.tolist())
    return {key: (batch.output(i), batch.finish_reason[i]) for i, key in enumerate(keys)}
