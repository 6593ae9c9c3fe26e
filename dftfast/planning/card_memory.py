"""What a card has to hold, and what follows: sizes of passes, seats, shards."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from dftfast.model.config import ModelConfig
from dftfast.planning.chips import Chip
from dftfast.rollout import RolloutEngine
from dftfast.rollout.memory import (
    MemoryPlan,
    RunShape,
    cache_bytes_per_token,
    num_layer_weights,
    plan_memory,
)

BF16 = torch.bfloat16


@dataclass(frozen=True)
class CardMemory:
    """The memory of each of several cards.

    Attributes:
        again: share of the layers that keep only their input (`run.activation_checkpointing`).
        sharded: each card holds a part of the layers' frozen weights.
    """

    model: ModelConfig
    chip: Chip
    cards: int
    again: float
    sharded: bool = False

    def update(self, rank: int, micro_tokens: int) -> MemoryPlan:
        """Training with an adapter of this rank and passes of so many tokens."""
        shape = RunShape(rank, 0, 0, micro_tokens)
        plans = [
            plan_memory(
                self.model,
                replace(shape, activation_checkpointing=keep),
                cpu=self.chip.cpu,
                capacity=self.chip.memory,
            )
            for keep in (True, False)
        ]
        kept = self.again * plans[0].activations + (1 - self.again) * plans[1].activations
        weights = plans[0].weights - (self.shared_bytes if self.sharded else 0)
        return replace(plans[0], activations=int(kept), weights=weights)

    @property
    def layer_bytes(self) -> int:
        """Matrices of all layers."""
        return num_layer_weights(self.model) * BF16.itemsize

    @property
    def shared_bytes(self) -> int:
        """What the other cards hold of them, where the layers are sharded."""
        return self.layer_bytes * (self.cards - 1) // self.cards

    def pass_tokens(self, rank: int, wanted: int, longest: int) -> int | None:
        """Tokens of a training pass: halved as the training loop does until they fit.

        None where not even the longest text does.
        """
        tokens = max(wanted, longest)
        while not self.update(rank, tokens).fits:
            if tokens == longest:
                return None
            tokens = max(tokens // 2, longest)
        return tokens

    @property
    def policy_bytes(self) -> int:
        """The weights, as sampling needs them."""
        plan = self.update(0, 0)
        return plan.weights + plan.packed

    @property
    def cache_bytes(self) -> int:
        """What the engine takes of the memory that is free."""
        return int(RolloutEngine.memory_share * max(self.chip.memory - self.policy_bytes, 0))

    def seats(self, most: int, tokens: float) -> int:
        """Sequences of so many tokens that run at once, `most` at most; at least one."""
        held = self.cache_bytes / (tokens * cache_bytes_per_token(self.model, BF16))
        return max(1, min(most, int(held)))


def card_memory(
    model: ModelConfig, chip: Chip, cards: int, again: float, rank: int, longest: int
) -> CardMemory | None:
    """Whole weights on every card where they fit, else shards; None where nothing fits."""
    for sharded in (False, True)[: 1 + (cards > 1)]:
        memory = CardMemory(model, chip, cards, again, sharded)
        if memory.pass_tokens(rank, longest, longest):
            return memory
    return None
