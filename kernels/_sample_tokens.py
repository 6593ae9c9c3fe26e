"""One sampled token a row, with the log-probabilities and the entropy that training needs."""

from __future__ import annotations

import torch
from torch import Tensor

from dftfast.kernels.checks import DTYPES, check_dtype, check_vector
from dftfast.kernels.compiled import cpu_kernels
from dftfast.kernels.operator import Operator


def sample_tokens(
    logits: Tensor,
    temperature: Tensor,
    top_k: Tensor,
    top_p: Tensor,
    min_p: Tensor,
    seed: Tensor,
    request_id: Tensor,
    position: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw from softmax(logits / temperature), cut to the top k, then top p, then by min p.

    A cut is a threshold on the logit, so equal logits are kept or dropped together. Kept are the
    logits of at least: the k-th largest; the largest t such that those of at least t have top_p of
    the probability that top-k left; the one that is min_p times as likely as the likeliest. The
    likeliest is always kept.

    The random number is the first word of Philox4x32-10 (Salmon et al. 2011) with key = seed and
    counter = (position, request_id); the draw inverts the distribution function over the kept
    tokens in vocabulary order.

    Args:
        logits: fp32, bf16 or fp16 [B, V], V > 0; -inf bans a token. All further arguments are [B].
        temperature: fp32; 0 takes the most likely token, the first of several. top_k: int32, 0 is
            off. top_p, min_p: fp32.
        seed, request_id, position: int64.

    Returns:
        token int64; logprob fp32 under softmax(logits); sampler_logprob fp32 under the distribution
        drawn from; entropy fp32 of softmax(logits), in nats. All [B]. A row that holds NaN or +inf,
        or nothing but -inf, has no
        distribution: its token is 0 and its figures are NaN.
    """
    return _sample_tokens(logits, temperature, top_k, top_p, min_p, seed, request_id, position)


SETTINGS = {
    "temperature": torch.float32,
    "top_k": torch.int32,
    "top_p": torch.float32,
    "min_p": torch.float32,
    "seed": torch.int64,
    "request_id": torch.int64,
    "position": torch.int64,
}


def _check(logits: Tensor, *settings: Tensor) -> None:
    check_dtype("sample_tokens", logits)
    if logits.dim() != 2 or not logits.shape[1]:
        raise ValueError(
            f"sample_tokens: logits [B, V] with V > 0 expected, got {tuple(logits.shape)}"
        )
    for (name, dtype), value in zip(SETTINGS.items(), settings, strict=True):
        check_vector("sample_tokens", name, value, len(logits), dtype)


def _cpu(
    logits: Tensor,
    temperature: Tensor,
    top_k: Tensor,
    top_p: Tensor,
    min_p: Tensor,
    seed: Tensor,
    request_id: Tensor,
    position: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rows, vocab = logits.shape
    logits = logits.contiguous()
    token = torch.empty(rows, dtype=torch.int64)
    logprob, sampler_logprob, entropy = (torch.empty(rows, dtype=torch.float32) for _ in range(3))
    outputs = (token, logprob, sampler_logprob, entropy)
    tensors = (temperature, top_k, top_p, min_p, seed, request_id, position, *outputs)
    tensors = [tensor.contiguous() for tensor in tensors]
    addresses = [tensor.data_ptr() for tensor in tensors]
    cpu_kernels.sample_tokens(
        logits.data_ptr(), DTYPES[logits.dtype], rows, vocab, *addresses, torch.get_num_threads()
    )
    return outputs


def _cuda(logits, *settings):
    from dftfast.kernels.triton.sample_tokens import sample_tokens_forward

    return sample_tokens_forward(logits.contiguous(), *(t.contiguous() for t in settings))


def _fake(logits, *settings):
    figure = logits.new_empty(len(logits), dtype=torch.float32)
    return logits.new_empty(len(logits), dtype=torch.int64), figure, figure.clone(), figure.clone()


_sample_tokens = Operator("sample_tokens", cpu=_cpu, cuda=_cuda, fake=_fake, check=_check)
