"""The dial fills the minutes that it is given, on slow and fast machines, with any corpus."""

from __future__ import annotations

from itertools import pairwise

import pytest

from dftfast.config import load_config
from dftfast.config.schema_dft import MOST_CANDIDATES
from dftfast.pipeline.dial import MOST_PHASES, Choice, Supply, choose
from dftfast.pipeline.pace import A_CREDIT
from dftfast.pipeline.report_cost import PAIR, ROUND, SET
from dftfast.runtime.errors import UserError

# seconds of a trained and of a sampled text: SmolLM2-135M on two cores, on a card, Qwen3-4B on one
MACHINES = {"two cores": (0.25, 0.3), "a card": (0.002, 0.0015), "4B on a card": (0.05, 0.06)}
CORPORA = {"large": (80_000, 10_000, 10_000), "small": (3_700, 460, 460)}


def supply(machine, corpus, **more):
    return Supply(*CORPORA[corpus], *MACHINES[machine], **more)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("minutes", [15, 60, 600])
def test_the_time_is_used_and_kept(machine, minutes):
    there = supply(machine, "large")
    chosen = choose(minutes, there)
    assert chosen.seconds(there) < 1.25 * 60 * minutes
    if chosen.phases < MOST_PHASES:  # no more phases, and no larger ones, than are worth it
        assert chosen.seconds(there) == pytest.approx(60 * minutes, rel=0.25)
    assert chosen.texts <= there.train and chosen.prompts <= there.train
    assert chosen.prompts * chosen.candidates <= MOST_CANDIDATES
    assert chosen.held_out <= there.held_out and chosen.validation <= there.validation


@pytest.mark.parametrize("variants, samplers", [(3.0, 9), (1.0, 3), (9.0, 24)])
def test_variants_and_samplers_count(variants, samplers):
    there = supply("a card", "large", variants=variants, samplers=samplers)
    assert choose(120, there).seconds(there) == pytest.approx(7200, rel=0.25)


def test_more_time_is_more_of_everything():
    there = supply("two cores", "small")
    runs = [choose(minutes, there) for minutes in (15, 60, 240, 960)]
    for less, more in pairwise(runs):
        assert more.texts >= less.texts and more.held_out >= less.held_out
        assert more.phases >= less.phases and more.work(there) > less.work(there)
    assert runs[-1].texts == there.train and runs[-1].held_out == there.held_out


def test_a_small_corpus_leaves_time_rather_than_repeat_itself():
    there = supply("a card", "small")
    chosen = choose(600, there)
    most = MOST_CANDIDATES // chosen.candidates
    assert chosen.prompts == min(there.train, most) and chosen.phases == MOST_PHASES
    assert chosen.seconds(there) < 0.75 * 36_000


def test_the_report_is_within_its_share():
    """On a card ten thousand prompts are answered in no time, and measured for hours."""
    there = supply("a card", "large", samplers=12)
    chosen = choose(60, there)
    assert there.compared(chosen.held_out) <= 0.2 * 3600 < there.compared(chosen.held_out + 1)


def test_too_little_time_is_refused_with_the_least():
    with pytest.raises(UserError, match=r"run.minutes: the least run takes about \d+ minutes"):
        choose(1, supply("two cores", "small"))


def test_the_work_is_that_of_the_pipelines_stages():
    """By hand: 100 texts once; 10 prompts twice by 3 settings and DFT; 2 phases of 20 x 6."""
    there = Supply(1000, 100, 100, trained=1.0, sampled=10.0, fixed=45.0)
    work = Choice(100, 10, 30, 2, 20, 6).work(there)
    assert work == (100, 10 * 2 * 4 + 240 + 3 * 30, 240)
    report = 2 * 4 * (SET + 10 * 10 * (PAIR + 1000 * ROUND))
    seconds = Choice(100, 10, 30, 2, 20, 6).seconds(there)
    assert seconds == pytest.approx(45 + 100 + A_CREDIT * 240 + 10 * 410 + report)


@pytest.mark.parametrize("machine", MACHINES)
def test_what_is_fixed_is_taken_off_and_many_rounds_leave_fewer_prompts(machine):
    """A race of 20 minutes, and a report of ten times as many rounds."""
    plain, raced = supply(machine, "large"), supply(machine, "large", fixed=1200)
    chosen = choose(60, raced)
    assert chosen.seconds(raced) == pytest.approx(3600, rel=0.25)
    assert chosen.work(raced) < choose(60, plain).work(plain)
    slow = supply(machine, "large", rounds=10_000)
    assert choose(60, slow).seconds(slow) == pytest.approx(3600, rel=0.25)
    assert choose(600, slow).held_out < choose(600, plain).held_out


def test_the_numbers_are_keys():
    config = Choice(100, 10, 30, 2, 20, 6).into(load_config())
    assert (config.sft.max_texts, config.sweep.prompts, config.evaluation.prompts) == (100, 10, 10)
    assert (config.dft.phases, config.dft.prompts, config.dft.candidates) == (2, 20, 6)
    assert config.dft.validation_prompts == 30
