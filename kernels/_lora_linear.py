"""A frozen linear layer and its low-rank adapter as one op, also for projections packed by rows."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from dftfast.kernels.checks import (
    check_dtype,
    check_floating,
    check_like,
    contiguous_like,
    in_autocast_dtype,
)
from dftfast.kernels.compiled import cpu_kernels
from dftfast.kernels.cpu_low_rank import add_low_rank, low_rank_gradients, on_tiles
from dftfast.kernels.operator import Operator


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
    Returns [..., out] in x's dtype. Under autocast, x, weight and bias are cast as for a product.
    Differentiable in x, a and b; weight and bias are frozen. Saves x and u.
    Raises ValueError for shapes that do not fit or a weight or bias that requires a gradient,
    TypeError for dtypes.
    """
    splits = [weight.shape[0]] if splits is None else list(splits)
    x, weight, bias = in_autocast_dtype(x, weight, bias)
    y, _ = _lora_linear(x, weight, a, b, scale, bias, splits, dropout, seed)
    return y


def _check(x, weight, a, b, scale, bias, splits, dropout, seed) -> None:
    check_dtype("lora_linear", *(t for t in (x, weight, bias) if t is not None))
    check_floating("lora_linear", a=a, b=b)
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
    if any(width < 0 for width in splits):
        raise ValueError(f"lora_linear: splits {splits} must not be negative")
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
    """x with entries left out; always the same ones for the same seed and shape."""
    if dropout == 0.0:
        return x
    if x.is_cuda:
        from dftfast.kernels.triton.dropout import dropped

        return dropped(x.contiguous(), dropout, seed)
    factor = torch.empty(x.shape)
    cpu_kernels.dropout_factor(
        factor.data_ptr(),
        factor.numel(),
        dropout,
        seed & 0xFFFFFFFFFFFFFFFF,
        torch.get_num_threads(),
    )
    return (x * factor).to(x.dtype)


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
    """(y [..., out], u [T, P*r])."""
    rows = _rows(x)
    y = F.linear(rows, weight, bias)
    shape = (*x.shape[:-1], len(weight))
    if on_tiles(x, a, splits, dropout):
        return y.view(shape), add_low_rank(y, rows, a, b, scale, splits)
    low = b.to(x.dtype)
    u = _dropped(rows, dropout, seed) @ a.to(x.dtype).t()
    for columns, ranks in _blocks(splits, b.shape[1]):
        y[:, columns].addmm_(u[:, ranks], low[columns].t(), alpha=scale)
    return y.view(shape), u


def _rows(x: Tensor) -> Tensor:
    return x.reshape(x.shape[:-1].numel(), x.shape[-1])


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
    """Gradients of those of x, a and b that `needs` names.

    Those of a and b sum over the tokens, with few columns on one side: libraries are fastest where
    these come last for a, and first for b.
    """
    rank, gradients, shape = b.shape[1], [], x.shape
    dy, x = _rows(dy), _rows(x)
    if on_tiles(x, a, splits, dropout):
        dx = dy @ weight if needs[0] else None
        found = low_rank_gradients(dy, x, u, a, b, scale, splits, dx, needs)
        return found if dx is None else [dx.view(shape), *found]
    if needs[0] or needs[1]:
        low, p = b.to(x.dtype), torch.empty_like(u)
        for columns, ranks in _blocks(splits, rank):
            torch.mul(dy[:, columns] @ low[columns], scale, out=p[:, ranks])
    if needs[0]:
        dx = dy @ weight
        if dropout == 0.0:
            dx.addmm_(p, a.to(x.dtype))
        else:
            dx += _dropped(p @ a.to(x.dtype), dropout, seed)
        gradients.append(dx.view(shape))
    if needs[1]:
        gradients.append((_dropped(x, dropout, seed).t() @ p).t().to(a.dtype).contiguous())
    if needs[2]:
        db = contiguous_like(b)
        for columns, ranks in _blocks(splits, rank):
            db[columns] = (u[:, ranks].t() @ dy[:, columns]).t()
        gradients.append(db.mul_(scale))
    return gradients


def _check_backward(dy, x, u, weight, a, b, scale, splits, dropout, seed, needs) -> None:
    _check(x, weight, a, b, scale, None, splits, dropout, seed)
    y, like_u = _fake(x, weight, a, b, scale, None, splits, dropout, seed)
    check_like("lora_linear_backward", dy=(dy, y), u=(u, like_u))
    if len(needs) != 3:
        raise ValueError(f"lora_linear_backward: needs of x, a and b expected, got {needs}")


def _fake(x, weight, a, b, scale, bias, splits, dropout, seed):
    tokens = x.shape[:-1].numel()
    return x.new_empty(*x.shape[:-1], weight.shape[0]), x.new_empty(tokens, a.shape[0])


def _backward_fake(dy, x, u, weight, a, b, scale, splits, dropout, seed, needs):
    return [contiguous_like(t) for t, need in zip((x, a, b), needs) if need]


def _setup_context(ctx, inputs, output) -> None:
    x, weight, a, b, ctx.scale, _, ctx.splits, ctx.dropout, ctx.seed = inputs
    ctx.save_for_backward(x, output[1], weight, a, b)
    ctx.mark_non_differentiable(output[1])


def _autograd(ctx, dy: Tensor, _):
    needs = [ctx.needs_input_grad[i] for i in (0, 2, 3)]
    gradients = iter(
        _lora_linear_backward(
            dy, *ctx.saved_tensors, ctx.scale, ctx.splits, ctx.dropout, ctx.seed, needs
        )
    )
    dx, da, db = (next(gradients) if need else None for need in needs)
    return dx, None, da, db, None, None, None, None, None


_lora_linear_backward = Operator(
    "lora_linear_backward",
    cpu=_backward,
    cuda=_backward,
    fake=_backward_fake,
    check=_check_backward,
)
_lora_linear = Operator(
    "lora_linear",
    cpu=_forward,
    cuda=_forward,
    fake=_fake,
    check=_check,
    setup_context=_setup_context,
    backward=_autograd,
)
