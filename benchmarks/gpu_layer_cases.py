"""Cases of the kernels of a decoder layer.

Each yields (name, ours, {peer: call}, bytes that must move, floating-point operations).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from gpu_inputs import BF16, over_layers, randn

from dftfast.kernels import lora_linear
from dftfast.kernels.triton import paged_attention, qk_norm_rope, rms_norm, swiglu


@over_layers
def rms_norm_cases(model, sizes):
    d = sizes[0]
    x, residual, w = randn(8192, d), randn(8192, d), randn(d)

    def plain():
        total = x + residual
        return F.rms_norm(total, (d,), w, 1e-6), total

    forward = lambda: rms_norm.add_rms_norm_forward(x, residual, w, 1e-6)
    yield f"add_rms_norm {model} 8192 rows", forward, {"torch": plain}, 4 * x.nbytes, 0
    backward = lambda: rms_norm.add_rms_norm_backward(x, residual, x, w, 1e-6)
    yield f"add_rms_norm backward {model}", backward, {}, 4 * x.nbytes, 0


@over_layers
def swiglu_cases(model, sizes):
    width = sizes[1]
    gate_up, dy = randn(8192, 2 * width), randn(8192, width)
    forward = lambda: swiglu.swiglu_forward(gate_up)
    plain = lambda: F.silu(gate_up[:, :width]) * gate_up[:, width:]
    yield f"swiglu {model} 8192 rows", forward, {"torch": plain}, gate_up.nbytes * 3 // 2, 0
    backward = lambda: swiglu.swiglu_backward(dy, gate_up)
    yield f"swiglu backward {model}", backward, {}, gate_up.nbytes * 5 // 2, 0


@over_layers
def qk_norm_rope_cases(model, sizes):
    _, _, H, Hk, D = sizes
    qkv, w = randn(8192, (H + 2 * Hk) * D), randn(D)
    angle = torch.rand(8192, D // 2, device="cuda")
    cos, sin = angle.cos(), angle.sin()

    def plain():
        q, k, v = qkv.view(8192, -1, D).split([H, Hk, Hk], 1)
        out = []
        for t in (q, k):
            first, second = F.rms_norm(t, (D,), w, 1e-6).chunk(2, -1)
            c, s = cos[:, None].to(BF16), sin[:, None].to(BF16)
            out.append(torch.cat([first * c - second * s, second * c + first * s], -1))
        return *out, v

    ours = lambda: qk_norm_rope.qk_norm_rope_forward(qkv, w, w, cos, sin, H, Hk, 1e-6)
    moved = 2 * qkv.nbytes + 2 * cos.nbytes
    yield f"qk_norm_rope {model} 8192 tokens", ours, {"torch": plain}, moved, 0


@over_layers
def lora_linear_cases(model, sizes):
    d, width, H, Hk, D = sizes
    for projection, splits in {"qkv": [H * D, Hk * D, Hk * D], "gate_up": [width, width]}.items():
        weight = randn(sum(splits), d) / d**0.5
        for r in (16, 64):
            a, b = randn(len(splits) * r, d), randn(sum(splits), r)
            for rows in (16, 256, 4096):
                name = f"{model} {projection} r={r} rows={rows}"
                yield from _lora_linear(name, rows, weight, a, b, splits)


def _lora_linear(name, rows, weight, a, b, splits):
    (out, d), r = weight.shape, b.shape[1]
    x, dy = randn(rows, d).requires_grad_(), randn(rows, out)
    a, b = a.requires_grad_(), b.requires_grad_()
    parts = list(zip(weight.split(splits), a.split(r), b.split(splits)))
    flops = 2 * rows * out * (d + r) + 2 * rows * d * len(splits) * r
    moved = x.nbytes + weight.nbytes + dy.nbytes

    def as_in_peft():
        return [F.linear(x, w) + F.linear(F.linear(x, a_i), b_i) for w, a_i, b_i in parts]

    forward = lambda: lora_linear(x, weight, a, b, 1.0, None, splits)
    peers = {"as in PEFT": as_in_peft, "base product alone": lambda: F.linear(x, weight)}
    yield f"lora_linear {name}", forward, peers, moved, flops
    gradient = lambda: torch.autograd.grad(forward(), (x, a, b), dy)
    peers = {
        "as in PEFT": lambda: torch.autograd.grad(as_in_peft(), (x, a, b), dy.split(splits, -1)),
        "base products alone": lambda: (x @ weight.t(), dy @ weight),
    }
    yield f"lora_linear with gradients {name}", gradient, peers, 2 * moved, 3 * flops


@over_layers
def paged_attention_cases(model, sizes):
    for name, sequences, length, queries in (
        ("decode", 256, 512, 1),
        ("decode", 64, 4096, 1),
        ("decode", 4, 32768, 1),
        ("prefill", 16, 1024, 1024),
    ):
        yield _paged_attention(f"{name} {model}", sizes, sequences, length, queries)
    # As in a rollout: the block table is as wide as the model's context of 40,960 tokens.
    yield _paged_attention(f"decode, wide table, {model}", sizes, 256, 200, 1, columns=2560)


def _paged_attention(name, sizes, sequences, length, queries, columns=0):
    (_, _, H, Hk, D), page = sizes, 16
    blocks = sequences * -(-length // page)
    k_cache, v_cache = randn(blocks, page, Hk, D), randn(blocks, page, Hk, D)
    table = torch.randperm(blocks, device="cuda").int().view(sequences, -1)
    offsets = torch.arange(sequences + 1, device="cuda", dtype=torch.int32) * queries
    lengths = torch.full((sequences,), length, device="cuda", dtype=torch.int32)
    q = randn(sequences * queries, H, D)
    table = F.pad(table, (0, max(columns - table.shape[1], 0)))
    caches = [c.view(sequences, -1, Hk, D)[:, :length] for c in (k_cache, v_cache)]
    dense = [c.transpose(1, 2) for c in caches]
    rows = q.view(sequences, queries, H, D).transpose(1, 2)
    share = 1.0 if queries == 1 else 0.5
    ours = lambda: paged_attention.paged_attention_forward(
        q, k_cache, v_cache, table, offsets, lengths, D**-0.5
    )
    peer = lambda: F.scaled_dot_product_attention(
        rows, *dense, is_causal=queries > 1, enable_gqa=True
    )
    return (
        f"{name} {sequences} x {length}",
        ours,
        {"scaled_dot_product_attention, contiguous cache": peer},
        2 * caches[0].numel() * k_cache.element_size() + 2 * q.nbytes,
        int(4 * share * q.shape[0] * H * D * length),
    )
