"""The scheduler without a model: a simulated cache knows who may write each slot."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dftfast.rollout.blocks import BlockPool
from dftfast.rollout.request import Request, sequences_of
from dftfast.rollout.sampler import Sampler
from dftfast.rollout.scheduler import Scheduler

BLOCK = 4


class Simulation:
    """Runs requests to the end.

    A cached position holds its whole prefix, so any stale or foreign block shows.
    """

    def __init__(self, blocks: int, max_sequences: int, max_tokens: int, refill: int = 1):
        self.scheduler = Scheduler(BlockPool(blocks), BLOCK, max_sequences, max_tokens, refill)
        self.cache: dict[int, tuple] = {}
        self.computed_tokens = self.steps = self.steps_with_prompts = 0

    @property
    def pool(self) -> BlockPool:
        return self.scheduler.pool

    def step(self) -> None:
        scheduler = self.scheduler
        held = {sequence: sequence.computed for sequence in scheduler.running}
        work = scheduler.schedule()
        assert work.work, "no progress"
        assert sum(count for _, count in work.work) <= scheduler.max_tokens
        assert len(scheduler.running) <= scheduler.max_sequences
        self.steps += 1
        self.steps_with_prompts += any(sequence.num_generated == 0 for sequence, _ in work.work)
        before = dict(self.cache)
        for source, target in work.copies:
            for offset in range(BLOCK):
                self.cache[target * BLOCK + offset] = before.get(source * BLOCK + offset)
        for sequence, count in work.work:  # every key is stored ...
            for p in range(sequence.computed, sequence.computed + count):
                block = sequence.blocks[p // BLOCK]
                readers = [
                    other
                    for other, computed in held.items()
                    if block in other.blocks and computed > p
                ]
                assert not readers, "a token that was already in the cache is written again"
                slot = block * BLOCK + p % BLOCK
                self.cache[slot] = tuple(sequence.tokens[: p + 1])
        for sequence, count in work.work:  # ... before any is read
            end = sequence.computed + count
            for p in range(end):
                slot = sequence.blocks[p // BLOCK] * BLOCK + p % BLOCK
                assert self.cache[slot] == tuple(sequence.tokens[: p + 1]), (
                    "wrong content in the cache"
                )
            self.computed_tokens += count
        for sequence, count in work.work:
            sequence.computed += count
            if sequence.computed == len(sequence.tokens):
                for sampled in [sequence, *scheduler.fork(sequence)]:
                    sampled.tokens.append(1000 * sampled.sample + len(sampled.tokens))
                    if sampled.num_generated == sampled.request.sampler.max_tokens:
                        sampled.finish_reason = "length"
                        scheduler.remove(sampled)
        owned = Counter(block for sequence in scheduler.running for block in sequence.blocks)
        assert self.pool.references == [owned[block] for block in range(self.pool.size)]

    def run(self, requests: list[Request]) -> list:
        sequences = [sequence for request in requests for sequence in sequences_of(request)]
        for sequence in sequences:
            if sequence.sample == 0:
                self.scheduler.add(sequence)
        for _ in range(20_000):
            if all(sequence.finish_reason for sequence in sequences):
                assert self.pool.num_free == self.pool.size
                assert not self.scheduler.waiting and not self.scheduler.running
                return sequences
            self.step()
        raise AssertionError("the rollout does not end")


request_mixes = st.lists(
    st.tuples(st.integers(1, 22), st.integers(0, 2), st.integers(1, 12), st.integers(1, 6)),
    min_size=1,
    max_size=12,
)


@given(
    mix=request_mixes,
    spare=st.integers(0, 6),
    max_sequences=st.integers(1, 8),
    max_tokens=st.integers(1, 40),
    refill=st.integers(1, 8),
)
@settings(max_examples=200, deadline=None)
def test_every_mix_finishes_in_any_cache_that_holds_one_sequence(
    mix, spare, max_sequences, max_tokens, refill
):
    requests = [
        Request(i, [family] * length, Sampler(max_tokens=new), n=n)
        for i, (length, family, new, n) in enumerate(mix)
    ]
    largest = max(-(-(len(r.prompt) + r.sampler.max_tokens - 1) // BLOCK) for r in requests)
    simulation = Simulation(largest + spare, max_sequences, max_tokens, min(refill, max_sequences))
    for sequence in simulation.run(requests):
        assert sequence.num_generated == sequence.request.sampler.max_tokens


def test_a_larger_refill_leaves_most_steps_without_prompts():
    requests = [Request(i, [i], Sampler(max_tokens=20 + i % 13)) for i in range(200)]
    simulations = {}
    for refill in (1, 4):
        simulation = Simulation(blocks=1024, max_sequences=32, max_tokens=64, refill=refill)
        simulation.run(requests)
        simulations[refill] = simulation
    assert simulations[4].steps_with_prompts < 0.5 * simulations[1].steps_with_prompts
    assert simulations[4].steps < 1.2 * simulations[1].steps


def test_a_prompt_is_computed_once_for_its_samples_and_shared():
    simulation = Simulation(blocks=64, max_sequences=8, max_tokens=100)
    [first, *_] = samples = sequences_of(Request(0, list(range(30)), Sampler(max_tokens=3), n=8))
    simulation.scheduler.add(first)
    simulation.step()
    assert simulation.computed_tokens == 30
    assert (
        simulation.pool.size - simulation.pool.num_free == 8
    )  # of 4 tokens: the prompt's own, whatever n is
    simulation.step()
    blocks = [tuple(sequence.blocks[:7]) for sequence in samples]
    assert len(set(blocks)) == 1, "full blocks stay shared"
    assert len({sequence.blocks[7] for sequence in samples}) == 8, (
        "the last block was copied on writing"
    )
    assert simulation.computed_tokens == 30 + 8


def test_equal_prefixes_of_requests_are_computed_once_and_not_across_versions():
    simulation = Simulation(blocks=64, max_sequences=8, max_tokens=100)
    requests = [Request(i, [*range(16), 100 + i], Sampler(max_tokens=1)) for i in range(4)]
    simulation.run(requests)
    assert simulation.computed_tokens == 17 + 3  # shared within the very step that computes it
    simulation.run([Request(9, [*range(16), 7], Sampler(max_tokens=1))])
    assert simulation.computed_tokens == 20 + 1
    simulation.scheduler.set_version(1)
    simulation.run([Request(10, [*range(16), 7], Sampler(max_tokens=1))])
    assert simulation.computed_tokens == 21 + 17


def test_a_long_prompt_does_not_hold_up_samples_that_run():
    simulation = Simulation(blocks=64, max_sequences=4, max_tokens=8)
    [short] = sequences_of(Request(0, [1], Sampler(max_tokens=9)))
    [long] = sequences_of(Request(1, list(range(40)), Sampler(max_tokens=1)))
    simulation.scheduler.add(short)
    simulation.step()
    simulation.scheduler.add(long)
    for generated in range(2, 6):
        simulation.step()
        assert short.num_generated == generated
    assert 0 < long.computed < 40


def test_preemption_spares_the_oldest():
    simulation = Simulation(blocks=6, max_sequences=2, max_tokens=50)
    requests = [Request(i, [i] * 8, Sampler(max_tokens=17)) for i in range(2)]
    first, second = simulation.run(requests)
    assert simulation.scheduler.preemptions > 0
    assert first.num_generated == second.num_generated == 17


def test_clear_frees_all_and_forgets_half_written_blocks():
    simulation = Simulation(blocks=32, max_sequences=4, max_tokens=6)
    for sequence in sequences_of(Request(0, list(range(20)), Sampler(), n=1)):
        simulation.scheduler.add(sequence)
    simulation.scheduler.schedule()
    simulation.scheduler.clear()
    assert simulation.pool.num_free == 32
    simulation.run([Request(1, list(range(20)), Sampler(max_tokens=2))])
    assert simulation.computed_tokens == 21


@pytest.mark.parametrize("n, seats, computed", [(8, 8, 20), (8, 4, 20 + 4 * 4)])
def test_samples_beyond_the_seats_wait_and_find_the_cached_prefix(n, seats, computed):
    simulation = Simulation(blocks=64, max_sequences=seats, max_tokens=100)
    simulation.run([Request(0, list(range(20)), Sampler(max_tokens=1), n=n)])
    assert simulation.computed_tokens == computed
