"""Triton kernels on a card, each beside a peer and a limit: python benchmarks/gpu.py OUT [op ...]

Writes OUT/gpu.json with the machine named, and prints a line a case: median milliseconds, how many times as long each
peer takes (above 1: ours is faster), and the share reached of the copy bandwidth or of the bf16 matrix rate that the same
run measured. Inputs are drawn at random; sizes are layers of Qwen3-0.6B, 4B and 14B. Needs torch and triton only.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
import triton
from triton.testing import do_bench

from dftfast.kernels.triton import (
    linear_logprob,
    lora_linear,
    ngram,
    paged_attention,
    qk_norm_rope,
    rbf_witness,
    rms_norm,
    sample_tokens,
    swiglu,
)

BF16 = torch.bfloat16
# hidden size, intermediate size, query heads, key heads, head size
LAYERS = {
    "Qwen3-0.6B": (1024, 3072, 16, 8, 128),
    "Qwen3-4B": (2560, 9728, 32, 8, 128),
    "Qwen3-14B": (5120, 17408, 40, 8, 128),
}
VOCABULARY = 151936


def randn(*shape, dtype=BF16):
    return torch.randn(*shape, device="cuda", dtype=torch.float32).to(dtype)


def ceilings() -> dict[str, float]:
    source, target = torch.empty(2, 1 << 30, dtype=BF16, device="cuda")
    copy = do_bench(lambda: target.copy_(source), return_mode="median")
    a, b = randn(8192, 8192), randn(8192, 8192)
    product = do_bench(lambda: a @ b, return_mode="median")
    return {
        "copy_gb_s": 2 * source.nbytes / copy / 1e6,
        "bf16_tflop_s": 2 * 8192**3 / product / 1e9,
    }


# Every case yields (name, ours, {peer: call}, bytes that must move, floating-point operations).


def bench_rms_norm():
    for model, (d, *_) in LAYERS.items():
        x, residual, w = randn(8192, d), randn(8192, d), randn(d)

        def plain():
            total = x + residual
            return F.rms_norm(total, (d,), w, 1e-6), total

        yield (
            f"add_rms_norm {model} 8192 rows",
            lambda: rms_norm.add_rms_norm_forward(x, residual, w, 1e-6),
            {"torch": plain},
            4 * x.nbytes,
            0,
        )
        yield (
            f"add_rms_norm backward {model}",
            lambda: rms_norm.add_rms_norm_backward(x, residual, x, w, 1e-6),
            {},
            (4 * x.nbytes),
            0,
        )


def bench_swiglu():
    for model, (_, width, *_) in LAYERS.items():
        gate_up, dy = randn(8192, 2 * width), randn(8192, width)
        yield (
            f"swiglu {model} 8192 rows",
            lambda: swiglu.swiglu_forward(gate_up),
            {"torch": lambda: F.silu(gate_up[:, :width]) * gate_up[:, width:]},
            gate_up.nbytes * 3 // 2,
            0,
        )
        yield (
            f"swiglu backward {model}",
            lambda: swiglu.swiglu_backward(dy, gate_up),
            {},
            gate_up.nbytes * 5 // 2,
            0,
        )


def bench_qk_norm_rope():
    for model, (_, _, H, Hk, D) in LAYERS.items():
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

        yield (
            f"qk_norm_rope {model} 8192 tokens",
            lambda: qk_norm_rope.qk_norm_rope_forward(qkv, w, w, cos, sin, H, Hk, 1e-6),
            {"torch": plain},
            2 * qkv.nbytes + 2 * cos.nbytes,
            0,
        )


def bench_lora_linear():
    for model, (d, width, H, Hk, D) in LAYERS.items():
        for projection, splits in {
            "qkv": [H * D, Hk * D, Hk * D],
            "gate_up": [width, width],
        }.items():
            out = sum(splits)
            weight = randn(out, d) / d**0.5
            for r in (16, 64):
                a, b = randn(len(splits) * r, d), randn(out, r)
                for rows in (16, 256, 4096):
                    x, dy, p = randn(rows, d), randn(rows, out), randn(rows, len(splits) * r)
                    arguments = (x, weight, a, b, 1.0, None, splits, 0.0, 0)
                    flops = 2 * rows * out * (d + r) + 2 * rows * d * len(splits) * r
                    moved = x.nbytes + weight.nbytes + dy.nbytes
                    yield (
                        f"lora_linear {model} {projection} r={r} rows={rows}",
                        lambda: lora_linear.fused_forward(*arguments),
                        {
                            "cublas": lambda: lora_linear.lora_linear_forward(*arguments),
                            "base product alone": lambda: F.linear(x, weight),
                        },
                        moved,
                        flops,
                    )
                    yield (
                        f"lora_linear dX {model} {projection} r={r} rows={rows}",
                        (lambda: lora_linear.fused_input_gradient(dy, p, weight, a)),
                        {"cublas": lambda: torch.addmm(dy @ weight, p, a)},
                        moved,
                        flops,
                    )


def bench_linear_logprob():
    for model, (d, *_) in LAYERS.items():
        T = 4096
        h, weight = randn(T, d), randn(VOCABULARY, d) / d**0.5
        target, one = (
            torch.randint(0, VOCABULARY, (T,), device="cuda"),
            torch.full((T,), 1 / T, device="cuda"),
        )

        def plain():
            rows = []
            for part, wanted in zip(
                h.split(512), target.split(512)
            ):  # in pieces, the whole would not fit beside a model
                rows.append(-F.cross_entropy((part @ weight.t()).float(), wanted, reduction="none"))
            return torch.cat(rows)

        product = 2 * T * VOCABULARY * d
        yield (
            f"linear_logprob {model} T={T}",
            lambda: linear_logprob.linear_logprob_forward(h, weight, target, 1.0),
            {"torch, 512 rows at a time": plain},
            weight.nbytes + h.nbytes,
            product,
        )
        yield (
            f"linear_cross_entropy {model} T={T}",
            lambda: linear_logprob.linear_cross_entropy_forward(h, weight, target, one, 1.0, False),
            {},
            3 * weight.nbytes,
            3 * product,
        )


def bench_rbf_witness():
    for n, d in ((2000, 384), (16000, 1024)):
        x, y = randn(n, d, dtype=torch.float32), randn(n, d, dtype=torch.float32)
        h = torch.tensor([0.5, 1.0, 2.0], device="cuda") * d**0.5
        yield (
            f"rbf_witness n=m={n} d={d} 3 bandwidths",
            lambda: rbf_witness.rbf_witness_forward(x, y, h, False),
            {
                "torch.cdist": lambda: torch.stack(
                    [torch.exp(-(torch.cdist(x, y) ** 2) / (2 * s * s)).mean(1) for s in h], 1
                ),
                "the bare fp32 product": lambda: x @ y.t(),
            },
            2 * x.nbytes,
            2 * n * n * d,
        )


def bench_ngram():
    tokens = (torch.rand(2_000_000, device="cuda") ** 3 * VOCABULARY).long()
    offsets = torch.arange(0, len(tokens) + 1, 500, device="cuda")
    host = tokens.cpu(), offsets.cpu()
    for n in (1, 2, 3):
        yield (
            f"ngram_counts n={n} 2M tokens",
            lambda: ngram.ngram_counts_forward(tokens, offsets, n, VOCABULARY, None),
            {"the same on the CPU": lambda: ngram.ngram_counts_forward(*host, n, VOCABULARY, None)},
            tokens.nbytes,
            0,
        )


def bench_paged_attention():
    page = 16
    for model, (_, _, H, Hk, D) in LAYERS.items():
        for name, sequences, length, queries in (
            ("decode", 256, 512, 1),
            ("decode", 64, 4096, 1),
            ("decode", 4, 32768, 1),
            ("prefill", 16, 1024, 1024),
        ):
            blocks = sequences * length // page
            k_cache, v_cache = randn(blocks, page, Hk, D), randn(blocks, page, Hk, D)
            table = torch.randperm(blocks, device="cuda").int().view(sequences, -1)
            offsets = torch.arange(sequences + 1, device="cuda", dtype=torch.int32) * queries
            lengths = torch.full((sequences,), length, device="cuda", dtype=torch.int32)
            q = randn(sequences * queries, H, D)
            dense = [c.view(sequences, length, Hk, D).transpose(1, 2) for c in (k_cache, v_cache)]
            rows = q.view(sequences, queries, H, D).transpose(1, 2)
            share = 1.0 if queries == 1 else 0.5
            yield (
                f"{name} {model} {sequences} x {length}",
                lambda: paged_attention.paged_attention_forward(
                    q, k_cache, v_cache, table, offsets, lengths, D**-0.5
                ),
                {
                    "scaled_dot_product_attention, contiguous cache": lambda: (
                        F.scaled_dot_product_attention(
                            rows, *dense, is_causal=queries > 1, enable_gqa=True
                        )
                    )
                },
                k_cache.nbytes + v_cache.nbytes + 2 * q.nbytes,
                int(4 * share * q.shape[0] * H * D * length),
            )


def bench_sample_tokens():
    for B in (64, 512):
        logits = 3 * randn(B, VOCABULARY)
        seeds = torch.arange(B, device="cuda")
        for name, top_k, top_p in (
            ("plain", 0, 1.0),
            ("top-p .95", 0, 0.95),
            ("top-k 50, top-p .95", 50, 0.95),
        ):
            t, p, m = (torch.full((B,), v, device="cuda") for v in (0.9, top_p, 0.0))
            k = torch.full((B,), top_k, device="cuda", dtype=torch.int32)

            def plain():
                ordered, index = (logits.float() / 0.9).sort(-1, descending=True)
                probabilities = ordered.softmax(-1)
                before = probabilities.cumsum(-1) - probabilities
                kept = torch.where(before < top_p, probabilities, 0.0)
                return index.gather(1, torch.multinomial(kept, 1))

            yield (
                f"sample_tokens {B} rows, {name}",
                lambda: sample_tokens.sample_tokens_forward(
                    logits, t, k, p, m, seeds, seeds, seeds
                ),
                {"sort, cumsum, multinomial": plain},
                logits.nbytes,
                0,
            )


OPS = {
    name.removeprefix("bench_"): case
    for name, case in list(globals().items())
    if name.startswith("bench_")
}


def measure(name: str, ours, peers: dict, moved: int, flops: int, limits: dict[str, float]) -> dict:
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    ours()
    row = {"case": name, "extra_mib": (torch.cuda.max_memory_allocated() - before) / 2**20}
    row["ms"] = do_bench(ours, warmup=10, rep=60, return_mode="median")
    for peer, call in peers.items():
        row[f"{peer} / ours"] = do_bench(call, warmup=10, rep=60, return_mode="median") / row["ms"]
    row["share_of_copy_bandwidth"] = moved / row["ms"] / 1e6 / limits["copy_gb_s"]
    row["share_of_matrix_rate"] = flops / row["ms"] / 1e9 / limits["bf16_tflop_s"]
    return row


def main() -> None:
    folder, wanted = Path(sys.argv[1]), sys.argv[2:] or list(OPS)
    torch.manual_seed(0)
    limits = ceilings()
    machine = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "triton": triton.__version__,
        **limits,
    }
    print(machine, flush=True)
    rows = []
    for op in wanted:
        try:
            for case in OPS[op]():
                rows.append(measure(*case, limits))
                print(
                    "  ".join(
                        f"{k} {v:.3g}" if isinstance(v, float) else v for k, v in rows[-1].items()
                    ),
                    flush=True,
                )
        except Exception as error:  # unattended: the other ops still run
            rows.append({"case": op, "error": f"{type(error).__name__}: {str(error)[:200]}"})
            print(rows[-1], flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "gpu.json").write_text(
            json.dumps({"machine": machine, "results": rows}, indent=1)
        )


if __name__ == "__main__":
    main()
