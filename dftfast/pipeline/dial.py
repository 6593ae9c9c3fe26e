"""One dial: how much of everything a run does in the minutes that it is given.

What a second of this machine does is measured, and of the corpus there is what there is. Shares of
the time: a fifth for fine-tuning, a fifth for the answers that are compared and for measuring them,
the rest for phases.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from dftfast.config import Config
from dftfast.config.schema_dft import MOST_CANDIDATES
from dftfast.pipeline.pace import Work
from dftfast.pipeline.report_cost import report_seconds
from dftfast.runtime.errors import UserError

SHARE = 0.2  # of the time, for fine-tuning; and again for the compared answers and the report
PHASES, CANDIDATES = 8, 12  # at most
MOST_PHASES = 100  # where one can hold no more; a run ends by itself when they bring nothing
FEWEST_PROMPTS = 24  # of a phase, of validation and of the report: fewer say nothing
A_PHASE = 160  # prompts: another phase is worth more than more prompts in one


@dataclass(frozen=True)
class Supply:
    """What there is: texts by part, seconds of a trained and of a sampled text, settings to fit.

    Attributes:
        variants: fine-tuned models, each counted by its share of the texts and its epochs.
        samplers: settings that every variant is sampled at, all variants together.
        draws: answers to a prompt by each.
        rounds: of resampling, for each figure of the report.
        fixed: seconds of what the dial does not set: loading, and a race.
    """

    train: int
    validation: int
    held_out: int
    trained: float
    sampled: float
    variants: float = 1.0
    samplers: int = 3
    draws: int = 2
    rounds: int = 1000
    fixed: float = 0.0

    def compared(self, prompts: int) -> float:
        """Seconds of the answers to so many held-out prompts, and of measuring them."""
        sets = self.draws * (self.samplers + 1)
        return prompts * sets * self.sampled + report_seconds(prompts, sets, self.rounds)


@dataclass(frozen=True)
class Choice:
    """The numbers that the dial sets."""

    texts: int
    held_out: int
    validation: int
    phases: int
    prompts: int
    candidates: int

    @classmethod
    def of(cls, config: Config) -> Choice:
        """The numbers that a configuration has, which the dial has set."""
        c = config.dft
        texts, held_out = config.sft.max_texts or 0, config.evaluation.prompts or 0
        return cls(texts, held_out, c.validation_prompts, c.phases, c.prompts, c.candidates)

    def work(self, supply: Supply) -> Work:
        """Texts that the run trains on, samples and credits in all."""
        learnt = self.phases * self.prompts * self.candidates
        compared = self.held_out * supply.draws * (supply.samplers + 1)
        validated = (self.phases + 1) * self.validation
        fitted = self.texts * supply.variants
        return Work(fitted, compared + learnt + validated, learnt)

    def seconds(self, supply: Supply) -> float:
        work, sets = self.work(supply), supply.draws * (supply.samplers + 1)
        report = report_seconds(self.held_out, sets, supply.rounds)
        return supply.fixed + work.seconds(supply.trained, supply.sampled) + report

    def into(self, config: Config) -> Config:
        """The configuration with these numbers."""
        new = {
            "sft": {"max_texts": self.texts},
            "sweep": {"prompts": self.held_out},
            "evaluation": {"prompts": self.held_out},
            "dft": {
                "phases": self.phases,
                "prompts": self.prompts,
                "candidates": self.candidates,
                "validation_prompts": self.validation,
            },
        }
        sections = {name: getattr(config, name).model_copy(update=new[name]) for name in new}
        return config.model_copy(update=sections)


def choose(minutes: float, supply: Supply) -> Choice:
    """What fits in the time.

    Where the corpus is too small to fill it, there are more phases and candidates, and then time
    is left.

    Raises:
        UserError: the least that says anything takes longer.
    """
    time = 60 * minutes - supply.fixed
    held_out, validation = (min(FEWEST_PROMPTS, n) for n in _parts(supply))
    least = Choice(FEWEST_PROMPTS, held_out, validation, 1, 24, 2)
    if least.seconds(supply) > 60 * minutes:
        raise UserError(
            f"run.minutes: the least run takes about {least.seconds(supply) / 60:.0f} minutes with "
            "this model on this machine; give more, or a smaller model"
        )
    texts = _within(SHARE * time / (supply.variants * supply.trained), supply.train)
    prompts = range(supply.held_out + 1)
    fitting = bisect_right(prompts, SHARE * time, key=supply.compared) - 1
    held_out = _within(fitting, supply.held_out)
    spent = texts * supply.variants * supply.trained + supply.compared(held_out)
    left = time - spent
    validation = _within(0.1 * left / (3 * supply.sampled), supply.validation)
    one = Work(sampled=1, credited=1).seconds(supply.trained, supply.sampled)  # a candidate
    candidates = 6
    phases = max(1, min(PHASES, int(left / (A_PHASE * candidates * one))))
    room = lambda: left - (phases + 1) * validation * supply.sampled
    fits = lambda: int(room() / (phases * candidates * one))
    most = min(supply.train, MOST_CANDIDATES // candidates)
    while fits() > most and phases < MOST_PHASES:
        phases += 1
    if fits() > supply.train:
        candidates = min(CANDIDATES, int(room() / (phases * supply.train * one)))
    while fits() < FEWEST_PROMPTS and candidates > 2:
        candidates -= 1
    most = min(supply.train, MOST_CANDIDATES // candidates)
    prompts = max(min(fits(), most), min(FEWEST_PROMPTS, supply.train))
    return Choice(texts, held_out, validation, phases, prompts, candidates)


def _parts(supply: Supply) -> tuple[int, int]:
    return supply.held_out, supply.validation


def _within(number: float, there: int) -> int:
    """Of what there is, at least the fewest that say something."""
    return int(min(max(number, FEWEST_PROMPTS), there))
