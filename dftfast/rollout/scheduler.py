"""Continuous batching: which sequences compute how many tokens next, and in which blocks."""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass, field

from dftfast.rollout.blocks import BlockPool, block_digest, version_digest
from dftfast.rollout.request import Sequence


@dataclass
class Step:
    """One forward pass: `(sequence, tokens to compute)` in order, and blocks to copy before it.

    Sequences of which nothing is computed yet come last.
    """

    work: list[tuple[Sequence, int]] = field(default_factory=list)
    copies: list[tuple[int, int]] = field(default_factory=list)


class Scheduler:
    """First come, first served, with every running sequence in every step.

    A sequence in its decode computes one token a step; what the budget has left goes to prompts, in
    chunks. When blocks run out, the youngest running sequence gives up its own and is computed
    again later. The oldest is never preempted for another, so whatever fits alone finishes.

    Args:
        pool: the blocks of the cache.
        block_size: tokens a block.
        max_sequences: sequences that run at once.
        max_tokens: tokens a step computes at most; at least `max_sequences`.
        refill: free seats that waiting sequences are admitted for at a time; more than 1 leaves
            steps without prompts between.
    """

    def __init__(
        self, pool: BlockPool, block_size: int, max_sequences: int, max_tokens: int, refill: int = 1
    ):
        self.pool = pool
        self.block_size = block_size
        self.max_sequences = max_sequences
        self.max_tokens = max(max_tokens, max_sequences + 1)
        self.refill = refill
        self.version, self.root = 0, version_digest(0)
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self.preemptions = 0
        self.prompt_tokens_reused = 0

    def set_version(self, version: int) -> None:
        """Take the weights' version, part of every block's name: nothing outlives a change."""
        if version != self.version:
            self.version, self.root = version, version_digest(version)
            self.pool.forget_all()

    def add(self, sequence: Sequence) -> None:
        self.waiting.append(sequence)

    def schedule(self) -> Step:
        """The next step. Every sequence in it owns the blocks that it writes to, alone."""
        step = Step()
        # beyond the one token that each running sequence is sure of
        budget = self.max_tokens - len(self.running)
        preempted = False
        index = 0
        while index < len(self.running):
            sequence = self.running[index]
            count = min(len(sequence.tokens) - sequence.computed, 1 + budget)
            while not self._reserve(sequence, count, step):
                preempted = True
                self._preempt(self.running[-1])
                if index == len(self.running):
                    break
            else:
                step.work.append((sequence, count))
                budget -= count - 1
            index += 1
        if not preempted:
            self._admit(step, budget)
        step.work.sort(key=lambda work: work[0].computed == 0)
        return step

    def fork(self, parent: Sequence) -> list[Sequence]:
        """The siblings of a computed prompt: those with a seat share its blocks and run."""
        forked = []
        for sibling in parent.siblings:
            if len(self.running) < self.max_sequences:
                sibling.computed = parent.computed
                sibling.blocks = array("i", map(self.pool.share, parent.blocks))
                sibling.digests = list(parent.digests)
                self.running.append(sibling)
                forked.append(sibling)
        self.waiting.extendleft(reversed(parent.siblings[len(forked) :]))
        parent.siblings = []
        return forked

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out, wherever it is, and free its blocks."""
        if sequence in self.running:
            self.running.remove(sequence)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)
        self._release(sequence)

    def clear(self) -> None:
        """Forget every sequence, owner and cached content, whatever an interruption has left."""
        self.running.clear()
        self.waiting.clear()
        self.pool = BlockPool(self.pool.size)

    def _admit(self, step: Step, budget: int) -> None:
        if not self.waiting:
            return
        seats_taken = sum(1 + len(sequence.siblings) for sequence in self.running)
        if seats_taken > self.max_sequences - self.refill:
            return
        while self.waiting and budget > 0 and seats_taken < self.max_sequences:
            sequence = self.waiting[0]
            # its samples shall run together
            seats = min(1 + len(sequence.siblings), self.max_sequences)
            if seats_taken + seats > self.max_sequences:
                return
            self._reuse_prefix(sequence)
            needed = -(-len(sequence.tokens) // self.block_size) - len(sequence.blocks)
            # a block for each sample, lest the next step preempts
            growth = seats_taken if self.running else 0
            if needed + growth > self.pool.num_free:
                self._release(sequence)
                return
            count = min(len(sequence.tokens) - sequence.computed, budget)
            self._reserve(sequence, count, step)
            self.waiting.popleft()
            self.running.append(sequence)
            self.prompt_tokens_reused += sequence.computed
            step.work.append((sequence, count))
            budget -= count
            seats_taken += seats

    def _reuse_prefix(self, sequence: Sequence) -> None:
        """Start from cached blocks; the last token is always computed, for its logits."""
        for start in range(0, len(sequence.tokens) - self.block_size, self.block_size):
            digest = self._digest(sequence, sequence.tokens[start : start + self.block_size])
            block = self.pool.find(digest)
            if block is None:
                return
            sequence.blocks.append(block)
            sequence.digests.append(digest)
            sequence.computed += self.block_size

    def _reserve(self, sequence: Sequence, count: int, step: Step) -> bool:
        """Blocks for the next `count` tokens, a shared last one copied.

        False and nothing done if too few are free.
        """
        end = sequence.computed + count
        new = -(-end // self.block_size) - len(sequence.blocks)
        partial = sequence.computed % self.block_size and not self.pool.writable(
            sequence.blocks[-1]
        )
        if not new and not partial and end % self.block_size:  # most steps of a sequence
            return True
        if new + bool(partial) > self.pool.num_free:
            return False
        if partial:
            shared = sequence.blocks[-1]
            sequence.blocks[-1] = self.pool.take()
            step.copies.append((shared, sequence.blocks[-1]))
            self.pool.drop(shared)
        sequence.blocks.extend(self.pool.take() for _ in range(new))
        # Named before they are computed: within a step, every layer stores all keys before any
        # query reads them.
        for index in range(len(sequence.digests), end // self.block_size):
            content = sequence.tokens[index * self.block_size : (index + 1) * self.block_size]
            sequence.digests.append(self._digest(sequence, content))
            self.pool.register(sequence.blocks[index], sequence.digests[-1])
        return True

    def _digest(self, sequence: Sequence, tokens: list[int]) -> bytes:
        return block_digest(sequence.digests[-1] if sequence.digests else self.root, tokens)

    def _preempt(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        self._release(sequence)
        self.waiting.appendleft(sequence)
        self.preemptions += 1

    def _release(self, sequence: Sequence) -> None:
        for block in reversed(
            sequence.blocks
        ):  # the end of a prefix is worth less than its beginning
            self.pool.drop(block)
        sequence.blocks, sequence.digests, sequence.computed = array("i"), [], 0
