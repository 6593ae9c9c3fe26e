"""Causal attention over documents packed end to end."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch
from torch import Tensor

from dftfast.kernels.checks import (
    DTYPES,
    check_dtype,
    check_like,
    contiguous_like,
    in_autocast_dtype,
)
from dftfast.kernels.compiled import cpu_kernels
from dftfast.kernels.operator import Operator
from dftfast.kernels.reference import causal_attention as reference


def causal_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    offsets: Tensor,
    longest: int | None = None,
    rows: Tensor | None = None,
) -> Tensor:
    """softmax(q kᵀ / √D) v, where a token sees itself and the earlier tokens of its own document.

    q: [T, H, D]; k, v: [T, Hk, D], H a multiple of Hk: query head h reads key head h // (H / Hk).
    All float32, bfloat16 or float16. offsets: int32 or int64 [documents + 1], first token of each
    document, the last entry T; documents may be empty. Returns [T, H, D] in q's dtype;
    differentiable in q, k and v.

    rows: int64 [tokens], on a CPU: documents that begin alike share the rows of their beginnings.
    Token t of those that `offsets` counts is row rows[t] of q, k, v and the result; a row that
    two documents have must follow the same rows in both, and is attended for once.

    On a CPU, sums are float32 and keys and values are not repeated; saves q, k, v, the result and
    the log-sum-exp of every row (Dao, "FlashAttention-2", 2023, section 3.1), from which the
    backward computes the weights again. The result does not depend on the number of threads. On
    CUDA, half precision goes to torch's `varlen_attn`, which wants the length of the `longest`
    document (found by a host synchronisation where the caller does not give it), and float32 to
    scaled_dot_product_attention, a document at a time.

    Under autocast, q, k and v are cast as for a matrix product. Raises ValueError for shapes or
    offsets that do not fit, TypeError for other dtypes.
    """
    q, k, v = in_autocast_dtype(q, k, v)
    if not q.is_cuda:
        out, _ = _causal_attention(q, k, v, offsets, rows)
        return out
    _check(q, k, v, offsets, rows)
    if rows is not None:
        raise ValueError("causal_attention: rows are for tensors on a CPU; spread q, k and v")
    if q.dtype == torch.float32:  # the flash kernel takes half precision
        return reference.causal_attention(q, k, v, offsets)
    return _varlen(
        q, k, v, offsets.to(torch.int32), int(offsets.diff().max()) if longest is None else longest
    )


def _check(q: Tensor, k: Tensor, v: Tensor, offsets: Tensor, rows: Tensor | None) -> None:
    check_dtype("causal_attention", q, k, v)
    if (
        q.dim() != 3
        or k.dim() != 3
        or k.shape != v.shape
        or q.shape[::2] != k.shape[::2]
        or 0 in (q.shape[1], k.shape[1])
        or q.shape[1] % k.shape[1]
    ):
        raise ValueError(
            "causal_attention: q [T, H, D] and k, v [T, Hk, D] with H a multiple of Hk expected, "
            f"got {tuple(q.shape)}, {tuple(k.shape)} and {tuple(v.shape)}"
        )
    if offsets.dim() != 1 or len(offsets) == 0 or offsets.dtype not in (torch.int32, torch.int64):
        raise ValueError(
            "causal_attention: int32 or int64 offsets [documents + 1] expected, "
            f"got {offsets.dtype} {tuple(offsets.shape)}"
        )
    if rows is not None and (rows.dim() != 1 or rows.dtype != torch.int64):
        raise ValueError(
            f"causal_attention: int64 rows [tokens] expected, got {rows.dtype} {tuple(rows.shape)}"
        )


def _varlen(q: Tensor, k: Tensor, v: Tensor, offsets: Tensor, longest: int) -> Tensor:
    """torch's flash kernel, which reads shared heads where they lie if its version can."""
    from torch.nn.attention.varlen import varlen_attn

    options = {}
    group = q.shape[1] // k.shape[1]
    if group > 1 and "enable_gqa" in inspect.signature(varlen_attn).parameters:
        options["enable_gqa"] = True
    elif group > 1:
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    out = varlen_attn(q, k, v, offsets, offsets, longest, longest, window_size=(-1, 0), **options)
    assert isinstance(out, Tensor)  # a tuple only where more is asked for
    return out


def _cpu(
    q: Tensor, k: Tensor, v: Tensor, offsets: Tensor, rows: Tensor | None
) -> tuple[Tensor, Tensor]:
    """(output, log-sum-exp float32 [T, H])."""
    q, k, v = (t.contiguous() for t in (q, k, v))
    out, lse = _fake(q, k, v, offsets, rows)
    _on_documents(cpu_kernels.causal_attention, q, k, offsets, rows, (q, k, v, out, lse))
    return out, lse


def _backward_cpu(
    dout: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    offsets: Tensor,
    rows: Tensor | None,
    out: Tensor,
    lse: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    inputs = [t.contiguous() for t in (dout, q, k, v, out, lse)]
    gradients = [torch.empty_like(t) for t in inputs[1:4]]
    _on_documents(cpu_kernels.causal_attention_backward, q, k, offsets, rows, (*inputs, *gradients))
    dq, dk, dv = gradients
    return dq, dk, dv


def _on_documents(
    kernel: Callable, q: Tensor, k: Tensor, offsets: Tensor, rows: Tensor | None, arrays
) -> None:
    """Call the kernel with the documents' description and the addresses of `arrays`."""
    num_rows, heads, head_dim = q.shape
    offsets = offsets.long().contiguous()
    rows = None if rows is None else rows.contiguous()
    documents = cpu_kernels.Documents(
        dtype=DTYPES[q.dtype],
        num_rows=num_rows,
        heads=heads,
        kv_heads=k.shape[1],
        head_dim=head_dim,
        threads=torch.get_num_threads(),
        offsets=offsets.data_ptr(),
        documents=len(offsets) - 1,
        rows=0 if rows is None else rows.data_ptr(),
        tokens=num_rows if rows is None else len(rows),
    )
    kernel(documents, *(t.data_ptr() for t in arrays))


def _not_on_cuda(*args):
    raise NotImplementedError(
        "torch.ops.dftfast.causal_attention runs on the CPU alone; "
        "dftfast.kernels.causal_attention takes CUDA tensors"
    )


def _fake(q, k, v, offsets, rows):
    return contiguous_like(q), q.new_empty(q.shape[:2], dtype=torch.float32)


def _check_backward(dout, q, k, v, offsets, rows, out, lse) -> None:
    _check(q, k, v, offsets, rows)
    like_out, like_lse = _fake(q, k, v, offsets, rows)
    check_like(
        "causal_attention_backward",
        dout=(dout, like_out),
        out=(out, like_out),
        lse=(lse, like_lse),
    )


def _setup_context(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs, *output)
    ctx.mark_non_differentiable(output[1])


def _autograd(ctx, dout: Tensor, _):
    return *_causal_attention_backward(dout, *ctx.saved_tensors), None, None


_causal_attention_backward = Operator(
    "causal_attention_backward",
    cpu=_backward_cpu,
    cuda=_not_on_cuda,
    fake=lambda dout, q, k, v, *_: tuple(map(contiguous_like, (q, k, v))),
    check=_check_backward,
)
_causal_attention = Operator(
    "causal_attention",
    cpu=_cpu,
    cuda=_not_on_cuda,
    fake=_fake,
    check=_check,
    setup_context=_setup_context,
    backward=_autograd,
)
