"""The planner against what a process really takes, and against counted parameters."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dftfast.model.lora import add_adapter
from dftfast.planning.model_sizes import KNOWN
from dftfast.rollout.memory import (
    GIB,
    RunShape,
    num_adapter_weights,
    num_weights,
    plan_memory,
    sequences_that_fit,
)

from .measured_process import LENGTH, MIDDLE, RANK, SEQUENCES, UPDATE
from .models import tiny_decoder


@pytest.mark.parametrize("family", ["qwen3", "llama"])
def test_parameters_are_counted_exactly(family):
    decoder = tiny_decoder(family, torch.float32)
    assert num_weights(decoder.config) == sum(p.numel() for p in decoder.parameters())
    assert num_adapter_weights(decoder.config, 8) == sum(
        p.numel() for p in add_adapter(decoder, 8, 8, seed=0)
    )


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_prediction_against_a_measured_process():
    script = Path(__file__).with_name("measured_process.py")
    output = subprocess.check_output([sys.executable, script], text=True, timeout=300)
    weights, cache, fixed, activations, packed = map(int, output.split())
    shape = RunShape(RANK, SEQUENCES, LENGTH, UPDATE, activation_checkpointing=False)
    plan = plan_memory(MIDDLE, shape, dtype=torch.float32)
    assert weights == pytest.approx(plan.weights, rel=0.1)
    assert cache == pytest.approx(plan.cache, rel=0.15)
    assert fixed == pytest.approx(plan.fixed, rel=0.15)
    assert activations == pytest.approx(plan.activations, rel=0.2)
    on_gpu, on_cpu = (plan_memory(MIDDLE, shape, cpu=cpu) for cpu in (False, True))
    assert packed == pytest.approx(on_cpu.packed, rel=0.15)
    assert on_gpu.packed == plan.packed == 0 and on_cpu.fixed == on_gpu.fixed + on_cpu.packed


def test_recomputation_keeps_less_and_sampling_and_updating_share_their_memory():
    recomputing = RunShape(rank=16, sequences=64, tokens_per_sequence=1024, update_tokens=8192)
    keeping = replace(recomputing, activation_checkpointing=False)
    full, lean = (plan_memory(MIDDLE, shape) for shape in (keeping, recomputing))
    assert lean.activations < 0.5 * full.activations
    assert full.peak == full.fixed + max(full.cache, full.activations)
    assert plan_memory(MIDDLE, recomputing, capacity=full.peak).fits
    tight = plan_memory(MIDDLE, recomputing, capacity=lean.peak - 1)
    assert not tight.fits
    assert sequences_that_fit(MIDDLE, tight, 1024) == (tight.capacity - tight.fixed) // (
        tight.cache // 64
    )


def test_four_bits_and_an_eight_bit_copy_let_14b_train_and_sample_on_48_gb():
    """And weigh what they weigh: half a byte and a scale for each 64, a byte for each."""
    config = KNOWN["Qwen/Qwen3-14B"]
    shape = RunShape(rank=32, sequences=64, tokens_per_sequence=2048, update_tokens=8192)
    capacity = int(0.94 * 48 * GIB)
    full, small = (
        plan_memory(config, shape, nf4=small, fp8=small, capacity=capacity)
        for small in (False, True)
    )
    matrices = 40 * 5120 * (2 * 5120 + 2 * 1024 + 3 * 17408)
    decoded = 2 * 17408 * 5120
    assert small.packed == matrices and not full.packed
    assert full.weights - small.weights == pytest.approx(
        2 * (matrices - decoded) - matrices * (0.5 + 1 / 64 + 1 / 4096), rel=1e-9
    )
    assert small.fits and not full.fits
    row = (
        f"{small.weights / GIB:.2f} GiB of weights, {small.packed / GIB:.2f} GiB of copy, "
        f"a peak of {small.peak / GIB:.2f} GiB"
    )
    assert row in (Path(__file__).parents[2] / "docs" / "rollout.md").read_text()


@pytest.mark.parametrize(
    "name, config, parameters",
    [
        # counts as published with the models
        ("Qwen3-4B", KNOWN["Qwen/Qwen3-4B"], 4_022_468_096),
        ("Qwen3-8B", KNOWN["Qwen/Qwen3-8B"], 8_190_735_360),
        ("Qwen3-14B", KNOWN["Qwen/Qwen3-14B"], 14_768_307_200),
    ],
)
def test_the_documented_table_is_what_the_planner_says(name, config, parameters):
    assert num_weights(config) == parameters
    shape = RunShape(rank=32, sequences=64, tokens_per_sequence=2048, update_tokens=8192)
    plan = plan_memory(config, shape, capacity=int(0.94 * 48 * GIB))
    adapter = (plan.fixed - plan.weights) / GIB
    token = plan.cache // (64 * 2048 * 1024)
    row = (
        f"| {name} | {plan.weights / GIB:.2f} | {adapter:.2f} | {plan.activations / GIB:.2f} | "
        f"{token} KiB "
        f"| {plan.cache / GIB:.2f} | {plan.peak / GIB:.2f} | "
        f"{sequences_that_fit(config, plan, 2048)} |"
    )
    assert row in (Path(__file__).parents[2] / "docs" / "rollout.md").read_text()
