"""rms_norm, add_rms_norm, qk_norm_rope and swiglu on 2,048 rows, forward and with backward.

Beside the same in plain torch as transformers' modules write it. `limit/ours`: share reached of the
memory bandwidth, where every input is read and every output written once (in the backward: also
what was saved).

Sizes: layers of SmolLM2-135M and Qwen3-0.6B, in float32 and in bfloat16 (the dtype in which a CPU
with bf16 instructions trains). Last, a norm so small that only the host's time for a call counts.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from cpu_limits import bandwidth
from paired import record

from dftfast import kernels

ROWS = 2048
LAYERS = {"SmolLM2-135M": (576, 1536, 9, 3, 64), "Qwen3-0.6B": (1024, 3072, 16, 8, 128)}


def norm(x, weight):
    return weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6))


def case(op: str, model: str, dtype: torch.dtype):
    """(ours, plain, inputs that train)"""
    d, width, heads, kv_heads, dim = LAYERS[model]
    randn = lambda *shape: torch.randn(*shape).to(dtype)
    x, residual, weight = randn(ROWS, d), randn(ROWS, d), randn(d)
    if op == "rms_norm":
        return lambda x, w: kernels.rms_norm(x, w, 1e-6), norm, (x, weight)
    if op == "add_rms_norm":
        plain = lambda x, residual, w: (norm(x + residual, w), x + residual)
        return (
            lambda x, residual, w: kernels.add_rms_norm(x, residual, w, 1e-6),
            plain,
            (x, residual, weight),
        )
    if op == "swiglu":
        return (
            kernels.swiglu,
            lambda gu: F.silu(gu[:, :width]) * gu[:, width:],
            (randn(ROWS, 2 * width),),
        )
    angle = torch.rand(ROWS, dim // 2)
    cos, sin = angle.cos(), angle.sin()
    wide_cos, wide_sin = (torch.cat([t, t], -1)[:, None] for t in (cos, sin))

    def plain(qkv, q_weight, k_weight):
        q, k, v = qkv.view(ROWS, -1, dim).split([heads, kv_heads, kv_heads], 1)
        turned = lambda t: (
            t * wide_cos + torch.cat([-t[..., dim // 2 :], t[..., : dim // 2]], -1) * wide_sin
        )
        return turned(norm(q, q_weight)), turned(norm(k, k_weight)), v

    def ours(qkv, q_weight, k_weight):
        return kernels.qk_norm_rope(qkv, q_weight, k_weight, cos, sin, heads, kv_heads, 1e-6)

    return (
        ours,
        plain,
        (randn(ROWS, (heads + 2 * kv_heads) * dim), randn(dim), randn(dim)),
    )


@pytest.mark.parametrize("model", LAYERS)
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("op", ["rms_norm", "add_rms_norm", "qk_norm_rope", "swiglu"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_row_ops(benchmark, op, backward, model, dtype):
    ours, plain, inputs = case(op, model, dtype)
    outputs = ours(*inputs)
    outputs = [outputs] if torch.is_tensor(outputs) else list(outputs)
    moved = sum(t.nbytes for t in (*inputs, *outputs))
    if (
        backward
    ):  # the gradients of the outputs and what was saved come in, those of the inputs go out
        moved += sum(t.nbytes for t in outputs) + 2 * sum(t.nbytes for t in inputs)
        if op == "add_rms_norm":  # the sum is saved in place of both terms
            moved -= inputs[0].nbytes
    cotangents = [torch.randn_like(t) for t in outputs]
    leaves = [t.requires_grad_(backward) for t in inputs]

    def call(function):
        found = function(*leaves)
        if backward:
            torch.autograd.grad([found] if torch.is_tensor(found) else found, leaves, cotangents)

    medians = record(benchmark, {"ours": lambda: call(ours), "torch": lambda: call(plain)})
    benchmark.extra_info["limit/ours"] = round(moved / bandwidth() / medians["ours"], 3)


def test_host_overhead(benchmark):
    x, weight, dy = torch.randn(2, 8, requires_grad=True), torch.ones(8), torch.ones(2, 8)
    many = 200

    def ours():
        for _ in range(many):
            torch.autograd.grad(kernels.rms_norm(x, weight, 1e-6), x, dy)

    def registered():
        for _ in range(many):
            torch.autograd.grad(torch.ops.dftfast.rms_norm(x, weight, 1e-6), x, dy)

    def plain():
        for _ in range(many):
            torch.autograd.grad(F.rms_norm(x, (8,), weight, 1e-6), x, dy)

    calls = {"rms_norm": ours, "torch.ops.dftfast.rms_norm": registered, "F.rms_norm": plain}
    medians = record(benchmark, calls)
    microseconds = {name: round(1e6 * median / many, 1) for name, median in medians.items()}
    benchmark.extra_info.update({"microseconds a call": microseconds, "bar": "at most 60"})
