"""Per-row means of a Gaussian kernel between two point sets, without the matrix of distances."""

from __future__ import annotations

import torch
from torch import Tensor

from dftfast.kernels.checks import check_dtype, check_floating, check_like, contiguous_like
from dftfast.kernels.compiled import cpu_kernels
from dftfast.kernels.operator import Operator

# A tile of dot products: large enough for the matrix product, small enough to stay in the
# last-level cache.
ROWS, COLUMNS = 1024, 2048


def rbf_witness(x: Tensor, y: Tensor, bandwidths: Tensor, exclude_diagonal: bool = False) -> Tensor:
    """Mean Gaussian kernel between every row of x and all rows of y, for several bandwidths.

        out[i, k] = mean_j exp(-|x_i - y_j|² / (2 h_k²))

    From it follow MMD² = mean(out(x, x)) - 2 mean(out(x, y)) + mean(out(y, y)), its unbiased
    estimate (exclude_diagonal for the first and last term) and its witness function (Gretton et
    al., "A Kernel Two-Sample Test", JMLR 2012, equations 3 and 4). Memory is O((n + m) d): the n ×
    m kernel never exists.

    x: [n, d] float32, bfloat16 or float16; y: [m, d], same dtype. bandwidths: [k] float32, in the
    unit of x. exclude_diagonal: leave out j = i (x and y are then the same points, n == m),
    dividing by m - 1.
    Returns float32 [n, k]. Distances and sums are kept in float32 or wider. Coinciding points give
    exactly 1.
    Differentiable in x only; y counts as data. For the mean of k(x_i, x_j) over pairs of one set,
    symmetry makes the full gradient twice that of rbf_witness(x, x.detach(), ..., True).mean().

    Raises ValueError for shapes that do not fit, no row in y, or a y or bandwidths that require a
    gradient; TypeError for other dtypes.
    """
    return _rbf_witness(x, y, bandwidths, exclude_diagonal)


def _check(x: Tensor, y: Tensor, bandwidths: Tensor, exclude_diagonal: bool) -> None:
    check_dtype("rbf_witness", x, y)
    check_floating("rbf_witness", bandwidths=bandwidths)
    if x.dim() != 2 or y.dim() != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(
            "rbf_witness: x [n, d] and y [m, d] expected, "
            f"got {tuple(x.shape)} and {tuple(y.shape)}"
        )
    if bandwidths.dim() != 1:
        raise ValueError(
            f"rbf_witness: bandwidths must be a vector [k], got shape {tuple(bandwidths.shape)}"
        )
    if exclude_diagonal and x.shape[0] != y.shape[0]:
        raise ValueError(
            f"rbf_witness: exclude_diagonal needs as many rows in x ({x.shape[0]}) as in y "
            f"({y.shape[0]})"
        )
    if y.shape[0] - exclude_diagonal < 1:
        raise ValueError("rbf_witness: no row of y is left to take the mean over")
    if y.requires_grad or bandwidths.requires_grad:
        raise ValueError(
            "rbf_witness: differentiable in x only; pass y.detach() and bandwidths.detach()"
        )


def _cpu(x: Tensor, y: Tensor, bandwidths: Tensor, exclude_diagonal: bool) -> Tensor:
    sums = x.new_zeros(x.shape[0], bandwidths.shape[0], dtype=torch.float64)
    for tile, *_ in _tiles(x.float(), y.float(), bandwidths, exclude_diagonal):
        cpu_kernels.rbf_values(tile, sums.data_ptr())
    return (sums / (y.shape[0] - exclude_diagonal)).float()


def _tiles(x: Tensor, y: Tensor, bandwidths: Tensor, exclude_diagonal: bool):
    """Every tile as the C++ kernels take it: dot products, rows, columns and centred points."""
    x, y = x.contiguous(), y.contiguous()
    # Distances do not change when both sets move; the norms, and with them the cancellation, become
    # small.
    mean = y.mean(0)
    mean = torch.where(mean.isfinite(), mean, 0.0)
    centred_x, centred_y = x - mean, y - mean
    x_norm, y_norm = centred_x.square().sum(1), centred_y.square().sum(1)
    rate = (2 * bandwidths.float().square()).reciprocal().contiguous()
    (n, d), m = x.shape, y.shape[0]
    buffer = x.new_empty(min(n, ROWS) * min(m, COLUMNS))
    for row in range(0, n, ROWS):
        rows = slice(row, min(row + ROWS, n))
        for column in range(0, m, COLUMNS):
            columns = slice(column, min(column + COLUMNS, m))
            shape = (rows.stop - row, columns.stop - column)
            dots = buffer[: shape[0] * shape[1]].view(shape)
            torch.mm(centred_x[rows], centred_y[columns].t(), out=dots)
            tile = cpu_kernels.RbfTile(
                dots.data_ptr(),
                *shape,
                row,
                column,
                x.data_ptr(),
                y.data_ptr(),
                d,
                x_norm.data_ptr(),
                y_norm.data_ptr(),
                rate.data_ptr(),
                len(rate),
                exclude_diagonal,
                torch.get_num_threads(),
            )
            yield tile, dots, rows, columns, (centred_x, centred_y)


def _backward_cpu(
    grad: Tensor, x: Tensor, y: Tensor, bandwidths: Tensor, exclude_diagonal: bool
) -> Tensor:
    # d out[i] / d x_i = Σ_j w_ij (y_j - x_i), with w_ij = k(x_i, y_j) / (h² m): one more product
    # with the tile.
    count = y.shape[0] - exclude_diagonal
    factor = (grad.float() / (bandwidths.float().square() * count)).contiguous()
    out = torch.zeros_like(x, dtype=torch.float32, memory_format=torch.contiguous_format)
    row_sums = out.new_zeros(x.shape[0])
    centred = x, y
    tiles = _tiles(x.float(), y.float(), bandwidths, exclude_diagonal)
    for tile, weights, rows, columns, centred in tiles:
        cpu_kernels.rbf_weights(tile, factor.data_ptr(), row_sums.data_ptr())
        out[rows].addmm_(weights, centred[1][columns])
    return (out - row_sums[:, None] * centred[0]).to(x.dtype)


def _cuda(x, y, bandwidths, exclude_diagonal):
    from dftfast.kernels.triton.rbf_witness import rbf_witness_forward

    return rbf_witness_forward(x, y, bandwidths, exclude_diagonal)


def _backward_cuda(grad, x, y, bandwidths, exclude_diagonal):
    from dftfast.kernels.triton.rbf_witness import rbf_witness_backward

    return rbf_witness_backward(grad, x, y, bandwidths, exclude_diagonal)


def _fake(x, y, bandwidths, exclude_diagonal):
    return x.new_empty(x.shape[0], bandwidths.shape[0], dtype=torch.float32)


def _check_backward(grad, x, y, bandwidths, exclude_diagonal) -> None:
    _check(x, y, bandwidths, exclude_diagonal)
    check_like("rbf_witness_backward", grad=(grad, _fake(x, y, bandwidths, exclude_diagonal)))


def _setup_context(ctx, inputs, output) -> None:
    x, y, bandwidths, ctx.exclude_diagonal = inputs
    ctx.save_for_backward(x, y, bandwidths)


def _autograd(ctx, grad: Tensor):
    dx = _rbf_witness_backward(grad, *ctx.saved_tensors, ctx.exclude_diagonal)
    return dx, None, None, None


_rbf_witness_backward = Operator(
    "rbf_witness_backward",
    cpu=_backward_cpu,
    cuda=_backward_cuda,
    fake=lambda grad, x, y, bandwidths, exclude_diagonal: contiguous_like(x),
    check=_check_backward,
)
_rbf_witness = Operator(
    "rbf_witness",
    cpu=_cpu,
    cuda=_cuda,
    fake=_fake,
    check=_check,
    setup_context=_setup_context,
    backward=_autograd,
)
