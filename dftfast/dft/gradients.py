"""Gradients of texts, and what they foresee of a credit.

The gradient of a text is that of its log-probability in one matrix of the policy: the output
projection of the last layer's attention. Behind it no token attends to another, so a token's part
is an outer product of two vectors: the gradient at the projection's output, and its input. All of
it costs a forward pass and the backward pass of one MLP and the head.

A small change of the matrix makes those texts likelier whose gradients lie along it. So the change
that makes texts likelier in proportion to their credits is a regression of the credits on the
gradients (natural gradient: Kakade 2001; from whole episodes: Peters and Schaal 2008). No text's
own luck is in what its gradient foresees, for that is fitted to texts of *other* prompts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dftfast.kernels import add_rms_norm, linear_logprob, rms_norm, swiglu
from dftfast.model.adapter import Adapter
from dftfast.model.attention import packed_causal
from dftfast.model.decoder import Decoder
from dftfast.model.lora import lora_layers
from dftfast.optimise import distributed
from dftfast.optimise.packing import Example, PackedBatch, by_budget, pack
from dftfast.optimise.sharded_join import sharded_join
from dftfast.runtime.profile import stage

FOLDS = 5
PENALTY = 0.1  # of the ridge, in units of a gradient's mean square; 0.03 to 0.3 do as well
GRADIENT_BYTES = 4 << 30  # of all gradients, beyond which they are of random projections


class Sides(NamedTuple):
    """Orthonormal columns that the two vectors of a token are projected on.

    Attributes:
        out: fp32 [hidden, at most hidden], of the gradient at the projection's output.
        inside: fp32 [heads * head size, at most as many], of its input.
    """

    out: Tensor
    inside: Tensor


def sides(decoder: Decoder, texts: int) -> Sides:
    """Those with which the gradients of so many texts take `GRADIENT_BYTES` at most."""
    out, inside = decoder.config.hidden_size, decoder.layers[-1].o.in_features
    room = max(GRADIENT_BYTES // (decoder.embed.dtype.itemsize * texts), 64 * 64)
    narrow = min(out, math.isqrt(room))
    return Sides(_basis(out, narrow), _basis(inside, min(inside, room // narrow)))


def token_gradients(
    decoder: Decoder, examples: Sequence[Example], micro_tokens: int, sides: Sides
) -> list[tuple[Tensor, Tensor]]:
    """The two vectors of every completion token; processes share the work.

    Returns:
        Of each example, on the CPU in the policy's dtype: [tokens, `sides.out`], the gradients of
        the tokens' log-probabilities at the projection's output, and [tokens, `sides.inside`], its
        inputs.
    """
    own = partial(_own_gradients, decoder, micro_tokens=micro_tokens, sides=sides)
    return distributed.map_over_ranks(own, examples, list(map(len, examples)))


def _own_gradients(
    decoder: Decoder, examples: Sequence[Example], micro_tokens: int, sides: Sides
) -> list[tuple[Tensor, Tensor]]:
    # neighbours share more of their beginning
    order = sorted(range(len(examples)), key=lambda i: examples[i].prompt)
    places, found = iter(order), {}
    with sharded_join(decoder):
        for group in by_budget([examples[i] for i in order], micro_tokens):
            with stage("forward"):
                batch = pack(group).to(decoder.embed.device)
                pair = _of_batch(decoder, batch)
            sizes = [len(example.completion) for example in group]
            projected = [
                (part.float() @ side.to(part.device)).to(part.dtype).cpu().split(sizes)
                for part, side in zip(pair, sides)
            ]
            for of_text in zip(*projected):
                found[next(places)] = of_text
    return [found[i] for i in range(len(examples))]


def _of_batch(decoder: Decoder, batch: PackedBatch) -> tuple[Tensor, Tensor]:
    """Gradients at the projection's output and its inputs, a row a target."""
    layer, kept = decoder.layers[-1], {}
    # texts of a prompt share rows of the forward pass, but no gradients
    places = batch.place[batch.rows]

    def read(_, inputs: tuple[Tensor], output: Tensor) -> None:
        """What follows attention once more, here, where a sharded layer is whole."""
        with torch.enable_grad():
            attended = output[places].requires_grad_()
            x, h = add_rms_norm(attended, kept["before"][places], layer.post_norm, layer.eps)
            h = h + layer.down(swiglu(layer.gate_up(x)))
            states = rms_norm(h, decoder.norm, decoder.config.rms_norm_eps)
            logprob, _ = linear_logprob(states, decoder.head_weight, batch.targets)
            (kept["out"],) = torch.autograd.grad(logprob.sum(), attended)
        kept["inside"] = inputs[0][places]

    hooks = (
        layer.register_forward_pre_hook(lambda _, inputs: kept.update(before=inputs[1])),
        layer.o.register_forward_hook(read),
    )
    rows, attend = batch.distinct, packed_causal(batch.offsets, batch.distinct, batch.place)
    try:
        with torch.no_grad():
            decoder(batch.tokens[rows], batch.positions[rows], attend)
    finally:
        for hook in hooks:
            hook.remove()
    return kept["out"], kept["inside"]


def _basis(size: int, width: int) -> Tensor:
    """fp32 [size, width], columns orthonormal; all of the space where the width is its size."""
    if size == width:
        return torch.eye(size)
    noise = torch.randn(size, width, generator=torch.Generator().manual_seed(0))
    return torch.linalg.qr(noise).Q


class TextGradients:
    """Gradients of texts, centred within prompts, and the regression of credits on them.

    Args:
        tokens: of each text, as `token_gradients` has them.
        prompt: int [n], of each text.
        seed: of the folds, which hold whole prompts.
        device: where the gradients are kept and multiplied.
    """

    def __init__(
        self,
        tokens: Sequence[tuple[Tensor, Tensor]],
        prompt: np.ndarray,
        seed: int,
        device: torch.device | str = "cpu",
    ):
        self.prompt = prompt
        self.shape = (tokens[0][0].shape[1], tokens[0][1].shape[1])
        size = self.shape[0] * self.shape[1]
        self.rows = torch.empty(len(tokens), size, dtype=tokens[0][0].dtype, device=device)
        for row, (out, inside) in zip(self.rows, tokens):
            row.copy_((out.to(device).T @ inside.to(device)).flatten())
        for each in np.unique(prompt):
            texts = torch.from_numpy(np.flatnonzero(prompt == each)).to(device)
            self.rows[texts] -= self.rows[texts].float().mean(0).to(self.rows.dtype)
        order = np.random.default_rng(seed).permutation(prompt.max() + 1)
        self.fold = (order % FOLDS)[prompt]
        self.gram = self._gram()
        self.penalty = PENALTY * self.gram.diagonal().mean().clamp_min(1e-30)
        self.whole = self._factor(np.ones(len(prompt), dtype=bool))
        self.rests = [self._factor(self.fold != k) for k in range(FOLDS)]

    def foreseen(self, credits: np.ndarray) -> np.ndarray:
        """float64 [n, v]: what the gradients foresee of credits [n, v], by other prompts."""
        found, wanted = np.zeros_like(credits), torch.from_numpy(credits)
        for k, factor in enumerate(self.rests):
            mine = torch.from_numpy(self.fold == k)
            if mine.any():
                fitted = torch.cholesky_solve(wanted[~mine], factor)
                found[mine.numpy()] = (self.gram[mine][:, ~mine] @ fitted).numpy()
        return found

    def coefficients(self, credits: np.ndarray) -> np.ndarray:
        """float64 [n, v]: of the texts' gradients in the direction that foresees credits [n, v]."""
        return torch.cholesky_solve(torch.from_numpy(credits), self.whole).numpy()

    def direction(self, coefficients: np.ndarray) -> Tensor:
        """fp32, of `shape`: the sum of the gradients with coefficients [n]."""
        of_texts = torch.from_numpy(coefficients).float().to(self.rows.device)
        parts = [of_texts @ block.float() for block in self.rows.split(1 << 16, dim=1)]
        return torch.cat(parts).view(self.shape).cpu()

    def _gram(self) -> Tensor:
        gram = torch.zeros(len(self.rows), len(self.rows), dtype=torch.float64)
        for block in self.rows.split(1 << 16, dim=1):
            gram += (block @ block.T).cpu().double()
        return gram

    def _factor(self, texts: np.ndarray) -> Tensor:
        """Of the regression on some texts, its Cholesky factor."""
        part = self.gram[texts][:, texts]
        return torch.linalg.cholesky(part + self.penalty * torch.eye(len(part)).double())


def adapter_of(decoder: Decoder, change: Tensor, sides: Sides, rank: int) -> tuple[Adapter, float]:
    """The change of the projection as an adapter of this rank.

    Args:
        change: fp32, between the coordinates of the sides.

    Returns:
        The adapter, and the share of the change's squares that its rank holds.
    """
    left, sizes, right = torch.linalg.svd(change, full_matrices=False)
    rank = min(rank, len(sizes))
    root = sizes[:rank].sqrt()
    projection = decoder.layers[-1].o
    key = next(key for key, layer in lora_layers(decoder).items() if layer is projection)
    tensors = {
        f"base_model.model.{key}.lora_A.weight": (sides.inside @ (right[:rank].T * root)).T,
        f"base_model.model.{key}.lora_B.weight": sides.out @ (left[:, :rank] * root),
    }
    held = float(sizes[:rank].square().sum() / sizes.square().sum().clamp_min(1e-30))
    return Adapter({name: t.contiguous() for name, t in tensors.items()}, rank, 1.0), held
