"""Kernel means at n = m = 6000, d = 384.

Beside sklearn's rbf_kernel (limit 2x) and bare fp32 products (limit 1.35x).
"""

from __future__ import annotations

import pytest
import torch
from paired import record
from sklearn.metrics.pairwise import rbf_kernel

from dftfast.kernels import rbf_witness

N, D = 6000, 384
BANDWIDTH = torch.tensor([1.0])


@pytest.fixture(scope="module")
def points():
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.functional.normalize(torch.randn(N, D, generator=generator)) for _ in range(2)]


def test_value(benchmark, points):
    x, y = points
    a, b = x.numpy(), y.numpy()
    benchmark.extra_info["limits"] = "sklearn at least 2"
    calls = {
        "rbf_witness": lambda: rbf_witness(x, y, BANDWIDTH),
        "product": lambda: x @ y.t(),
        "sklearn": lambda: rbf_kernel(a, b, gamma=0.5).mean(1),
    }
    record(benchmark, calls, rounds=5)


def test_three_terms_of_the_mmd(benchmark, points):
    x, y = points
    benchmark.extra_info["limits"] = "three products at least 0.74 (1 / 1.35)"

    def mmd():
        within = (
            rbf_witness(x, x, BANDWIDTH, True).mean() + rbf_witness(y, y, BANDWIDTH, True).mean()
        )
        return within - 2 * rbf_witness(x, y, BANDWIDTH).mean()

    record(
        benchmark,
        {"mmd": mmd, "three products": lambda: (x @ x.t(), x @ y.t(), y @ y.t())},
        rounds=5,
    )


def test_value_and_gradient(benchmark, points):
    """Distances, distances again, and the weighted sum of y: three products of this size."""
    x, y = points
    benchmark.extra_info["limits"] = "three products at least 0.74 (1 / 1.35)"

    def both():
        leaf = x.detach().requires_grad_()
        rbf_witness(leaf, y, BANDWIDTH).sum().backward()

    def products():
        first, second = x @ y.t(), x @ y.t()
        return first, second @ y

    record(benchmark, {"rbf_witness": both, "three products": products}, rounds=5)
