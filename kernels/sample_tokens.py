"""One sampled token a row, with the log-probabilities and the entropy that training needs."""

from __future__ import annotations

import torch
from torch import Tensor

from dftfast import _C

from .reference.sample_tokens import sample_tokens as reference


def sample_tokens(
    logits: Tensor, temperature: Tensor, top_k: Tensor, top_p: Tensor, min_p: Tensor, seed: Tensor,
    request_id: Tensor, position: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Draw from softmax(logits / temperature), cut to the top k, then to the top p of those, then by min p.

    The random number is the first word of Philox4x32-10 (Salmon et al. 2011) with key = seed and counter =
    (position, request_id); the draw inverts the distribution function over the kept tokens in vocabulary order.

    Args:
        logits: fp32 or bf16 [B, V]; -inf bans a token. All further arguments are [B].
        temperature: fp32; 0 takes the most likely token. top_k: int32, 0 is off. top_p, min_p: fp32.
        seed, request_id, position: int64.

    Returns:
        token int64; logprob fp32 under softmax(logits); sampler_logprob fp32 under the distribution drawn from;
        entropy fp32 of softmax(logits), in nats. All [B].
    """
    if logits.dim() != 2:
        raise ValueError(f"logits [B, V] expected, got {tuple(logits.shape)}")
    settings = (temperature, top_k, top_p, min_p, seed, request_id, position)
    dtypes = (torch.float32, torch.int32, torch.float32, torch.float32, torch.int64, torch.int64, torch.int64)
    for value, dtype in zip(settings, dtypes):
        if value.shape != logits.shape[:1] or value.dtype != dtype:
            raise ValueError(f"{dtype} [{len(logits)}] expected, got {value.dtype} {tuple(value.shape)}")
    return torch.ops.dftfast.sample_tokens(logits, *(value.contiguous() for value in settings))


@torch.library.custom_op("dftfast::sample_tokens", mutates_args=(), device_types="cpu")
def _sample(
    logits: Tensor, temperature: Tensor, top_k: Tensor, top_p: Tensor, min_p: Tensor, seed: Tensor,
    request_id: Tensor, position: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    settings = (temperature, top_k, top_p, min_p, seed, request_id, position)
    if not _C.isa().startswith("avx512"):
        return reference(logits, *settings)
    rows, vocab = logits.shape
    values = logits.float().contiguous()
    token = torch.empty(rows, dtype=torch.int64)
    figures = [torch.empty(rows, dtype=torch.float32) for _ in range(3)]
    outputs = (token, *figures)
    addresses = [tensor.data_ptr() for tensor in (*settings, *outputs)]
    _C.sample_tokens(values.data_ptr(), rows, vocab, *addresses, torch.get_num_threads())
    return outputs


@_sample.register_kernel("cuda")
def _(logits, *settings):
    from .triton.sample_tokens import sample_tokens_forward

    return sample_tokens_forward(logits.contiguous(), *settings)


@_sample.register_fake
def _(logits, *settings):
    figure = logits.new_empty(len(logits), dtype=torch.float32)
    return logits.new_empty(len(logits), dtype=torch.int64), figure, figure.clone(), figure.clone()
