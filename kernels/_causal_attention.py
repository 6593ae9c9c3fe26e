"""Causal attention over documents packed end to end."""

from __future__ import annotations

import torch
from torch import Tensor

from dftfast.kernels.checks import DTYPES, check_dtype
from dftfast.kernels.compiled import cpu_kernels
from dftfast.kernels.reference import causal_attention as reference


def causal_attention(
    q: Tensor, k: Tensor, v: Tensor, offsets: Tensor, longest: int | None = None
) -> Tensor:
    """softmax(q kᵀ / √D) v, where a token sees itself and the earlier tokens of its own document.

    q: [T, H, D]; k, v: [T, Hk, D], H a multiple of Hk: query head h reads key head h // (H / Hk).
    All float32, bfloat16 or float16. offsets: int64 [documents + 1], first token of each document,
    the last entry T; documents may be empty. Returns [T, H, D] in q's dtype; differentiable in q, k
    and v.

    On a CPU, arithmetic is float32 and keys and values are not repeated; saves q, k, v and the
    log-sum-exp of every row (Dao, "FlashAttention-2", 2023, section 3.1), from which the backward
    computes the weights again. The result does not depend on the number of threads. On CUDA, half
    precision goes to torch's `varlen_attn`, which wants the length of the `longest` document (found
    by a host synchronisation where the caller does not give it), and float32 to
    scaled_dot_product_attention, a document at a time.

    Raises ValueError for shapes or offsets that do not fit, TypeError for other dtypes.
    """
    check_dtype("causal_attention", q, k, v)
    if (
        q.dim() != 3
        or k.dim() != 3
        or k.shape != v.shape
        or q.shape[::2] != k.shape[::2]
        or q.shape[1] % k.shape[1]
    ):
        raise ValueError(
            "causal_attention: q [T, H, D] and k, v [T, Hk, D] with H a multiple of Hk expected, "
            f"got {tuple(q.shape)}, {tuple(k.shape)} and {tuple(v.shape)}"
        )
    if offsets.dim() != 1 or len(offsets) == 0 or offsets.dtype != torch.int64:
        raise ValueError(
            "causal_attention: int64 offsets [documents + 1] expected, "
            f"got {offsets.dtype} {tuple(offsets.shape)}"
        )
    if not q.is_cuda:
        out, _ = torch.ops.dftfast.causal_attention(q, k, v, offsets)
        return out
    if q.dtype == torch.float32:  # the flash kernel takes half precision
        return reference.causal_attention(q, k, v, offsets)
    return _varlen(
        q, k, v, offsets.to(torch.int32), int(offsets.diff().max()) if longest is None else longest
    )


def _varlen(q: Tensor, k: Tensor, v: Tensor, offsets: Tensor, longest: int) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    group = q.shape[1] // k.shape[1]
    if group > 1:
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    out = varlen_attn(q, k, v, offsets, offsets, longest, longest, window_size=(-1, 0))
    assert isinstance(out, Tensor)  # a tuple only where more is asked for
    return out


@torch.library.custom_op("dftfast::causal_attention", mutates_args=(), device_types="cpu")
def _forward(q: Tensor, k: Tensor, v: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """(output, log-sum-exp float32 [T, H])."""
    q, k, v, offsets = (t.contiguous() for t in (q, k, v, offsets))
    out, lse = torch.empty_like(q), q.new_empty(q.shape[:2], dtype=torch.float32)
    addresses = (t.data_ptr() for t in (q, k, v, offsets, out, lse))
    cpu_kernels.causal_attention(DTYPES[q.dtype], *addresses, *_sizes(q, k, offsets))
    return out, lse


@torch.library.custom_op("dftfast::causal_attention_backward", mutates_args=(), device_types="cpu")
def _backward(
    dout: Tensor, q: Tensor, k: Tensor, v: Tensor, offsets: Tensor, lse: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    inputs = [t.contiguous() for t in (dout, q, k, v, offsets, lse)]
    dq, dk, dv = (torch.empty_like(t) for t in inputs[1:4])
    addresses = (t.data_ptr() for t in (*inputs, dq, dk, dv))
    cpu_kernels.causal_attention_backward(DTYPES[q.dtype], *addresses, *_sizes(q, k, offsets))
    return dq, dk, dv


def _sizes(q: Tensor, k: Tensor, offsets: Tensor) -> tuple[int, ...]:
    tokens, heads, head_dim = q.shape
    return len(offsets) - 1, tokens, heads, k.shape[1], head_dim, torch.get_num_threads()


def _like(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(t, memory_format=torch.contiguous_format) for t in tensors)


_forward.register_fake(
    lambda q, k, v, offsets: (*_like(q), q.new_empty(q.shape[:2], dtype=torch.float32))
)
_backward.register_fake(lambda dout, q, k, v, offsets, lse: _like(q, k, v))


def _setup_context(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs, output[1])
    ctx.mark_non_differentiable(output[1])


def _autograd(ctx, dout: Tensor, _):
    return *torch.ops.dftfast.causal_attention_backward(dout, *ctx.saved_tensors), None


_forward.register_autograd(_autograd, setup_context=_setup_context)
