"""A request, and one of its samples while it is being written."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from dftfast.rollout.sampler import Sampler
from dftfast.runtime.errors import UserError


@dataclass(frozen=True)
class Request:
    """`n` samples of one prompt.

    The samples are a function of (weights, prompt, sampler, seed, id): neither the batch, nor the
    order, nor the number of processes changes them.

    Attributes:
        id: names the request in results; unique within a call; part of the random numbers' counter.
        prompt: token ids, at least one.
    """

    id: int
    prompt: list[int]
    sampler: Sampler = field(default_factory=Sampler)
    seed: int = 0
    n: int = 1

    def __post_init__(self):
        if not len(self.prompt):
            raise UserError(f"request {self.id}: the prompt is empty; it needs at least one token")
        if not (-(2**63) <= self.id < 2**63 and 0 <= self.seed < 2**63):
            raise UserError(
                f"request {self.id}: seed = {self.seed} must be from 0 to 2**63 - 1 (and the id "
                "an integer of 64 bits)"
            )
        if self.n < 1:
            raise UserError(f"request {self.id}: n = {self.n} must be at least 1")


@dataclass(eq=False)
class Sequence:
    """One sample of a request.

    `tokens` is the prompt and what has been sampled; the keys and values of the first `computed` of
    them are in `blocks`. `siblings` wait for this sequence's prompt, to be forked from it.
    """

    request: Request
    sample: int
    tokens: list[int]
    computed: int = 0
    blocks: array[int] = field(default_factory=lambda: array("i"))
    digests: list[bytes] = field(default_factory=list)
    siblings: list[Sequence] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    sampler_logprobs: list[float] = field(default_factory=list)
    entropies: list[float] = field(default_factory=list)
    finish_reason: str | None = None

    @property
    def num_generated(self) -> int:
        return len(self.tokens) - len(self.request.prompt)


def sequences_of(request: Request) -> list[Sequence]:
    """The request's samples; the first one carries the others as its siblings."""
    samples = [Sequence(request, i, list(request.prompt)) for i in range(request.n)]
    samples[0].siblings = samples[1:]
    return samples
