"""A frozen linear layer and its low-rank adapter as one op, also for projections packed by rows."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from dftfast.kernels.checks import check_dtype
from dftfast.kernels.compiled import cpu_kernels


def lora_linear(
    x: Tensor,
    weight: Tensor,
    a: Tensor,
    b: Tensor,
    scale: float,
    bias: Tensor | None = None,
    splits: list[int] | None = None,
    dropout: float = 0.0,
    seed: int = 0,
) -> Tensor:
    """y = x Wᵀ + bias + scale * (x aᵀ) bᵀ (Hu et al., "LoRA", 2021, equation 3).

    With splits, block i of the output's columns (splits[i] of them) has the low-rank part scale *
    u_i b_iᵀ, where u_i is columns i*r to (i+1)*r of u = x aᵀ and b_i the block's rows of b: packed
    q/k/v and gate/up in one op.

    x: [..., in] and weight: [out, in], bias: [out], one of float32, bfloat16, float16. a: [P*r,
    in], b: [out, r], any floating dtype (float32 masters beside bfloat16 weights): rounded to x's
    dtype for the products, with gradients in their own dtype. splits: P widths that add up to out;
    None is one block. dropout: probability with which an entry of x is left out of the low-rank
    part (the others grow by 1 / (1 - dropout)), drawn from `seed` and the entry's index alone.
    Returns [..., out] in x's dtype.
    Differentiable in x, a and b; weight and bias are frozen. Saves x and u.
    Raises ValueError for shapes that do not fit or a weight or bias that requires a gradient,
    TypeError for dtypes.
    """
    splits = [weight.shape[0]] if splits is None else list(splits)
    _check(x, weight, a, b, bias, splits, dropout)
    rows = x.reshape(-1, x.shape[-1])
    y, _ = torch.ops.dftfast.lora_linear(rows, weight, a, b, scale, bias, splits, dropout, seed)
    return y.view(*x.shape[:-1], weight.shape[0])


def _check(x, weight, a, b, bias, splits, dropout) -> None:
    check_dtype("lora_linear", *(t for t in (x, weight, bias) if t is not None))
    if x.dim() == 0 or weight.dim() != 2 or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"lora_linear: x [..., in] and weight [out, in] expected, got {tuple(x.shape)}, "
            f"{tuple(weight.shape)}"
        )
    out, columns = weight.shape
    if b.dim() != 2 or b.shape[0] != out or a.shape != (len(splits) * b.shape[1], columns):
        raise ValueError(
            f"lora_linear: a [{len(splits)}*r, {columns}] and b [{out}, r] expected, "
            f"got {tuple(a.shape)} and {tuple(b.shape)}"
        )
    if not (a.is_floating_point() and b.is_floating_point()):
        raise TypeError(f"lora_linear: a and b must be floating point, got {a.dtype} and {b.dtype}")
    if sum(splits) != out:
        raise ValueError(
            f"lora_linear: splits {splits} add up to {sum(splits)}, not to the weight's {out} rows"
        )
    if bias is not None and bias.shape != (out,):
        raise ValueError(f"lora_linear: bias [{out}] expected, got {tuple(bias.shape)}")
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"lora_linear: dropout must be in [0, 1), got {dropout}")
    if weight.requires_grad or (bias is not None and bias.requires_grad):
        raise ValueError(
            "lora_linear: weight and bias are frozen; call requires_grad_(False) on them"
        )


def _blocks(splits: list[int], rank: int) -> Iterator[tuple[slice, slice]]:
    """(columns of y, columns of u) of every block."""
    begin = 0
    for i, width in enumerate(splits):
        yield slice(begin, begin + width), slice(i * rank, (i + 1) * rank)
        begin += width


def _dropped(x: Tensor, dropout: float, seed: int) -> Tensor:
    if dropout == 0.0:
        return x
    factor = torch.empty(x.shape)
    cpu_kernels.dropout_factor(
        factor.data_ptr(),
        factor.numel(),
        dropout,
        seed & 0xFFFFFFFFFFFFFFFF,
        torch.get_num_threads(),
    )
    return (x * factor).to(x.dtype)


@torch.library.custom_op("dftfast::lora_linear", mutates_args=(), device_types="cpu")
def _forward(
    x: Tensor,
    weight: Tensor,
    a: Tensor,
    b: Tensor,
    scale: float,
    bias: Tensor | None,
    splits: list[int],
    dropout: float,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """(y, u)."""
    low = b.to(x.dtype)
    u = _dropped(x, dropout, seed) @ a.to(x.dtype).t()
    y = F.linear(x, weight, bias)
    for columns, ranks in _blocks(splits, b.shape[1]):
        y[:, columns].addmm_(u[:, ranks], low[columns].t(), alpha=scale)
    return y, u


@torch.library.custom_op("dftfast::lora_linear_backward", mutates_args=(), device_types="cpu")
def _backward(
    dy: Tensor,
    x: Tensor,
    u: Tensor,
    weight: Tensor,
    a: Tensor,
    b: Tensor,
    scale: float,
    splits: list[int],
    dropout: float,
    seed: int,
    needs: list[bool],
) -> list[Tensor]:
    """Gradients of those of x, a and b that `needs` names."""
    rank, gradients = b.shape[1], []
    if needs[0] or needs[1]:
        low, p = b.to(x.dtype), torch.empty_like(u)
        for columns, ranks in _blocks(splits, rank):
            torch.mul(dy[:, columns] @ low[columns], scale, out=p[:, ranks])
    if needs[0]:
        if dropout == 0.0:
            gradients.append((dy @ weight).addmm_(p, a.to(x.dtype)))
        else:
            gradients.append(dy @ weight + _dropped(p @ a.to(x.dtype), dropout, seed))
    if needs[1]:
        gradients.append((p.t() @ _dropped(x, dropout, seed)).to(a.dtype))
    if needs[2]:
        db = torch.empty_like(b, memory_format=torch.contiguous_format)
        for columns, ranks in _blocks(splits, rank):
            db[columns] = dy[:, columns].t() @ u[:, ranks]
        gradients.append(db.mul_(scale))
    return gradients


@_forward.register_kernel("cuda")
def _(
    x: Tensor,
    weight: Tensor,
    a: Tensor,
    b: Tensor,
    scale: float,
    bias: Tensor | None,
    splits: list[int],
    dropout: float,
    seed: int,
) -> tuple[Tensor, Tensor]:
    from dftfast.kernels.triton.lora_linear import lora_linear_forward

    return lora_linear_forward(x, weight, a, b, scale, bias, splits, dropout, seed)


@_backward.register_kernel("cuda")
def _(
    dy: Tensor,
    x: Tensor,
    u: Tensor,
    weight: Tensor,
    a: Tensor,
    b: Tensor,
    scale: float,
    splits: list[int],
    dropout: float,
    seed: int,
    needs: list[bool],
) -> list[Tensor]:
    from dftfast.kernels.triton.lora_linear import lora_linear_backward

    gradients = lora_linear_backward(dy, x, u, weight, a, b, scale, splits, dropout, seed, needs)
    return [g for g in gradients if g is not None]


@_forward.register_fake
def _(x, weight, a, b, scale, bias, splits, dropout, seed):
    return x.new_empty(x.shape[0], weight.shape[0]), x.new_empty(x.shape[0], a.shape[0])


@_backward.register_fake
def _(dy, x, u, weight, a, b, scale, splits, dropout, seed, needs):
    return [
        torch.empty_like(t, memory_format=torch.contiguous_format)
        for t, need in zip((x, a, b), needs)
        if need
    ]


def _setup_context(ctx, inputs, output) -> None:
    x, weight, a, b, ctx.scale, _, ctx.splits, ctx.dropout, ctx.seed = inputs
    ctx.save_for_backward(x, output[1], weight, a, b)
    ctx.mark_non_differentiable(output[1])


def _autograd(ctx, dy: Tensor, _):
    needs = [ctx.needs_input_grad[i] for i in (0, 2, 3)]
    gradients = iter(
        torch.ops.dftfast.lora_linear_backward(
            dy, *ctx.saved_tensors, ctx.scale, ctx.splits, ctx.dropout, ctx.seed, needs
        )
    )
    dx, da, db = (next(gradients) if need else None for need in needs)
    return dx, None, da, db, None, None, None, None, None


_forward.register_autograd(_autograd, setup_context=_setup_context)
