"""Metrics of embeddings: kernel matrices of MMD, and the Fréchet distance."""

from __future__ import annotations

import numpy as np
import torch

from dftfast.distribution.mmd import median_bandwidth
from dftfast.model.device import pick_device

NO_BANDWIDTH = 1e-6  # what `median_bandwidth` gives where most texts are equal


def bandwidth(y: np.ndarray) -> float:
    """Median distance between (at most 2,000) rows of y: the median heuristic."""
    return median_bandwidth(torch.from_numpy(np.ascontiguousarray(y)))


def rbf(x: np.ndarray, y: np.ndarray, bandwidth: float) -> np.ndarray:
    """exp(-|x_i - y_j|² / (2 h²)), float64 [n, m]; on the GPU where there is one.

    Rows are centred first: the expansion of the square cancels badly far from 0.
    """
    a, b = (torch.from_numpy(np.asarray(z, np.float64)).to(pick_device()) for z in (x, y))
    centre = b.mean(0)
    a, b = a - centre, b - centre
    d = torch.addmm((a**2).sum(1)[:, None] + (b**2).sum(1), a, b.T, alpha=-2).clamp_(min=0)
    if x is y:
        d.fill_diagonal_(0)
    return d.mul_(-1 / (2 * bandwidth**2)).exp_().cpu().numpy()


def frechet(x: np.ndarray, y: np.ndarray) -> float:
    """Squared Fréchet (2-Wasserstein) distance of the Gaussians fitted to x [n, d] and y [m, d].

    |μx - μy|² + tr Σx + tr Σy - 2 tr (Σx Σy)^½ (Dowson and Landau 1982), covariances with n - 1.
    The last trace is the nuclear norm of Σx^½ Σy^½: exact also where there are fewer texts than
    dimensions.
    """
    (mx, cx), (my, cy) = _centred(x), _centred(y)
    cross = torch.linalg.svdvals(_root(cx.T @ cx) @ _root(cy.T @ cy)).sum()
    return float(((mx - my) ** 2).sum() + (cx**2).sum() + (cy**2).sum() - 2 * cross)


def _root(covariance: torch.Tensor) -> torch.Tensor:
    """Square root of a positive semi-definite matrix; eigenvalues that are only rounding are 0."""
    values, vectors = torch.linalg.eigh(covariance)
    values[values < len(values) * torch.finfo(values.dtype).eps * values[-1]] = 0
    return vectors * values.sqrt() @ vectors.T


def frechet_rounds(x: np.ndarray, y: np.ndarray, w: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Fréchet distance with rows drawn w and v times in each round. [rounds]

    It is exact to first order in w - 1 and v - 1. The derivative of the nuclear norm of
    X Yᵀ = U S Vᵀ by the weight of row i of X is (U S Uᵀ)_ii / 2, so that one decomposition serves
    all rounds.
    """
    (mx, cx), (my, cy) = _centred(x), _centred(y)
    (qx, rx), (qy, ry) = torch.linalg.qr(cx), torch.linalg.qr(cy)
    u, s, vt = torch.linalg.svd(rx @ ry.T, full_matrices=False)
    slope = lambda c, q, shift: (
        (c**2).sum(1) - (q**2) @ s + 2 * np.sqrt(len(c) - 1) / len(c) * (c @ shift)
    )
    of_x, of_y = (
        slope(cx, qx @ u, mx - my).cpu().numpy(),
        slope(cy, qy @ vt.T, my - mx).cpu().numpy(),
    )
    return frechet(x, y) + (w - 1) @ of_x + (v - 1) @ of_y


def frechet_null(rows: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Fréchet distance between the rows marked 1 in `first` [rounds, n] and the others.

    The nuclear norm is the sum of the square roots of the eigenvalues of Σx Σy, taken from a
    symmetric matrix of the smaller of dimensions and texts. Embeddings may span fewer dimensions
    than they have, so no covariance is taken to have an inverse.
    """
    out = np.empty(len(first))
    for k, marked in enumerate(first):
        (mx, cx), (my, cy) = (_centred(rows[marked == side]) for side in (1, 0))
        if min(len(cx), len(cy)) > rows.shape[1]:
            half = cy @ _root(cx.T @ cx)
            product = half.T @ half
        else:
            product = cx @ cy.T
            product = product @ product.T if len(cx) <= len(cy) else product.T @ product
        cross = torch.linalg.eigvalsh(product).clamp_(min=0).sqrt_().sum()
        spread = (cx**2).sum() + (cy**2).sum()
        out[k] = float(((mx - my) ** 2).sum() + spread - 2 * cross)
    return out


def _centred(x: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean, and the rows centred and divided by sqrt(n - 1), in float64.

    LAPACK through torch is several times faster than through numpy on two busy cores.
    """
    rows = torch.from_numpy(np.asarray(x, np.float64)).to(pick_device())
    return rows.mean(0), (rows - rows.mean(0)) / np.sqrt(len(rows) - 1)
