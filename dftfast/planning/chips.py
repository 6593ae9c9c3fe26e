"""Cards: their limits, and the share of a limit that each kind of work reaches."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dftfast.rollout.memory import GIB


@dataclass(frozen=True)
class Shares:
    """What each kind of work reaches of the matrix rate, or of the memory's bandwidth.

    Attributes:
        products: of the matrix rate: layers with adapters in training.
        attention: of the matrix rate, in training, with the backward pass.
        head: of the matrix rate: the logits in training and their gradient.
        rows: of the bandwidth: norms, rotations, gates.
        prompt_products: of the matrix rate: layers that read prompts.
        prompt_attention: of the matrix rate, over the paged cache.
        step_products: of the matrix rate, the products of a token step with many sequences.
        step_weights: of the bandwidth, the weights' way to a step with few.
        step_cache: of the bandwidth: keys and values of a token step.
        sampler: of the bandwidth: logits in fp32 read once, all words allowed.
        filtered_sampler: the same with top-k or top-p.
    """

    products: float
    attention: float
    head: float
    rows: float
    prompt_products: float
    prompt_attention: float
    step_products: float
    step_weights: float
    step_cache: float
    sampler: float
    filtered_sampler: float


@dataclass(frozen=True)
class Chip:
    """A card, or a processor.

    Attributes:
        memory: bytes that may be used.
        bandwidth: bytes a second that a copy moves, read and written.
        matrix: operations a second of a large bf16 product (of the dtype that a CPU trains in).
        link: bytes a second that a card sends to the next while it receives as many.
        layer_seconds: what the host needs to start a layer's forward and backward pass; the card
            waits where its work is shorter.
        step_seconds: of a token step beyond its work.
        origin: where these figures are from, for the reader of a plan.
        cpu: sampling goes by a packed copy of the weights.
    """

    name: str
    memory: int
    bandwidth: float
    matrix: float
    link: float
    shares: Shares
    layer_seconds: float
    step_seconds: float
    origin: str
    cpu: bool = False


# Medians over the layers of Qwen3-4B and 14B on an NVIDIA H100 80GB HBM3, as `shares_of` finds
# them in benchmarks/results/h100/gpu.json.
H100_SHARES = Shares(
    products=0.896,
    attention=0.67,
    head=0.651,
    rows=0.918,
    prompt_products=0.896,
    prompt_attention=0.166,
    step_products=0.669,
    step_weights=0.644,
    step_cache=0.898,
    sampler=0.0935,
    filtered_sampler=0.0134,
)
H100 = Chip(
    name="H100 80 GB",
    memory=int(0.94 * 80 * GIB),
    bandwidth=3020e9,
    matrix=695e12,
    link=0.6 * 450e9,
    shares=H100_SHARES,
    layer_seconds=0.245 / 30,
    step_seconds=0.001,
    origin="measured, but for its link and a step's overhead, which are assumed",
)
# What an H100 reached of its own data sheet: 989 TFLOP/s of dense bf16, 3,350 GB/s.
_OF_MATRIX, _OF_BANDWIDTH = H100.matrix / 989e12, H100.bandwidth / 3350e9
RTX_6000_ADA = replace(
    H100,
    name="RTX 6000 Ada 48 GB",
    memory=int(0.94 * 48 * GIB),
    bandwidth=_OF_BANDWIDTH * 960e9,
    matrix=_OF_MATRIX * 364e12,
    link=0.6 * 32e9,
    origin="nothing measured: data sheet (960 GB/s, 364 TFLOP/s, PCIe 4 x16), of which it is "
    "assumed to reach what an H100 did of its own, with the shares of an H100",
)
CHIPS = {"rtx-6000-ada": RTX_6000_ADA, "h100": H100}
