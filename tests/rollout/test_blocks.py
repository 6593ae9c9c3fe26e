"""The block pool against a model of it: no leak, no double free, shared blocks never writable."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from dftfast.rollout.blocks import BlockPool, block_digest, version_digest

SIZE = 6


class PoolMachine(RuleBasedStateMachine):
    """Handles are single ownerships of a block.

    `content` is what a block holds, `names` what was registered.
    """

    handles = Bundle("handles")

    def __init__(self):
        super().__init__()
        self.pool = BlockPool(SIZE)
        self.owners = dict.fromkeys(range(SIZE), 0)
        self.content: dict[int, bytes] = {}
        self.registered: dict[int, bytes] = {}

    @rule(target=handles)
    def take(self):
        free = [block for block, owners in self.owners.items() if owners == 0]
        if not free:
            with pytest.raises(MemoryError):
                self.pool.take()
            return multiple()
        block = self.pool.take()
        assert self.owners[block] == 0
        if any(block not in self.registered for block in free):
            assert block not in self.registered, (
                "cached content was given up while an empty block was free"
            )
        self.owners[block] = 1
        self.registered.pop(block, None)
        self.content[block] = b"private"
        return block

    @rule(target=handles, block=handles)
    def share(self, block):
        self.owners[block] += 1
        return self.pool.share(block)

    @rule(block=consumes(handles))
    def drop(self, block):
        self.owners[block] -= 1
        self.pool.drop(block)

    @rule(block=handles, name=st.integers(0, 3))
    def register(self, block, name):
        digest = block_digest(version_digest(0), [name])
        if not self.pool.writable(block):
            return  # only its sole owner fills a block
        self.pool.register(block, digest)
        if digest not in self.registered.values():
            self.registered[block] = digest

    @rule(target=handles, name=st.integers(0, 3))
    def find(self, name):
        digest = block_digest(version_digest(0), [name])
        holders = [block for block, held in self.registered.items() if held == digest]
        block = self.pool.find(digest)
        assert [block] == holders if holders else block is None
        if block is None:
            return multiple()
        self.owners[block] += 1
        return block

    @rule()
    def forget_all(self):
        self.pool.forget_all()
        self.registered.clear()

    @invariant()
    def accounts_agree(self):
        assert self.pool.references == [self.owners[block] for block in range(SIZE)]
        assert self.pool.num_free == sum(owners == 0 for owners in self.owners.values())
        for block in range(SIZE):
            assert self.pool.writable(block) == (
                self.owners[block] == 1 and block not in self.registered
            )


PoolMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestPoolMachine = PoolMachine.TestCase


def test_a_free_block_is_refused():
    pool = BlockPool(2)
    block = pool.take()
    pool.drop(block)
    for misuse in (pool.drop, pool.share, lambda b: pool.register(b, b"x" * 16)):
        with pytest.raises(ValueError, match="is free"):
            misuse(block)


def test_cached_blocks_are_given_up_least_recently_used_first():
    pool = BlockPool(3)
    blocks = [pool.take() for _ in range(3)]
    for block in blocks:
        pool.register(block, bytes([block]))
        pool.drop(block)
    assert pool.find(bytes([blocks[0]])) == blocks[0]
    pool.drop(blocks[0])
    assert [pool.take(), pool.take(), pool.take()] == [blocks[1], blocks[2], blocks[0]]


def test_digest_names_the_whole_prefix_and_the_version():
    root = version_digest(0)
    first = block_digest(root, [1, 2])
    assert first == block_digest(root, [1, 2])
    others = [
        block_digest(version_digest(1), [1, 2]),
        block_digest(first, [1, 2]),
        block_digest(root, [2, 1]),
    ]
    assert len({first, *others}) == 4
