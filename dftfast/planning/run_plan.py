"""The stages of a run on several cards: seconds, bytes held by a card, bytes sent between cards."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np

from dftfast.config import Config
from dftfast.dft.stored_rollouts import WAVES
from dftfast.model.config import ModelConfig
from dftfast.optimise.distributed import balanced_parts
from dftfast.pipeline.run import CPU_SEQUENCES, GPU_SEQUENCES
from dftfast.pipeline.stage_sweep import most_finalists
from dftfast.planning.card_memory import CardMemory, card_memory
from dftfast.planning.chips import Chip
from dftfast.planning.rollout_steps import token_steps
from dftfast.planning.roofline import rollout_seconds, seconds
from dftfast.planning.text_lengths import TextLengths
from dftfast.planning.work import causal_pairs, forward, optimiser_step, training_pass
from dftfast.rollout.memory import num_adapter_weights
from dftfast.runtime.errors import UserError

SAMPLE_BYTES = 20  # of a sampled token, as processes tell one another: an int64 and three floats


@dataclass(frozen=True)
class StagePlan:
    """Of one stage: seconds, bytes that a card holds at most, bytes that all cards send."""

    stage: str
    seconds: float
    memory: int
    traffic: float

    def __add__(self, other: StagePlan) -> StagePlan:
        return StagePlan(
            self.stage,
            self.seconds + other.seconds,
            max(self.memory, other.memory),
            self.traffic + other.traffic,
        )

    def __mul__(self, times: float) -> StagePlan:
        return replace(self, seconds=self.seconds * times, traffic=self.traffic * times)


@dataclass(frozen=True)
class Training:
    """How texts are learnt: an adapter's rank, tokens of an update and of a pass, epochs."""

    rank: int
    batch_tokens: int
    micro_tokens: int
    epochs: int


class RunPlan:
    """What a configuration takes with this model, these texts and so many of these cards.

    Attributes:
        memory: what the cards hold; None where the model fits in no way.
    """

    def __init__(
        self, config: Config, model: ModelConfig, texts: TextLengths, chip: Chip, cards: int
    ):
        if "full" in config.sft.method:
            raise UserError("sft.method: full fine-tuning is not planned for; choose lora")
        self.config, self.model, self.chip, self.cards = config, model, chip, cards
        c = config
        held_out = c.data.held_out_share if not c.data.held_out else 0.0
        self.corpus = texts
        # a file of held-out texts is not read: it counts as no larger than the corpus
        self.held_out = max(round(len(texts) * held_out), 1) if held_out else len(texts)
        self.train = texts.first(round(len(texts) * (1 - c.data.validation_share - held_out)))
        longest = int((texts.prompts + texts.texts).max())
        rank = max(c.sft.rank, c.dft.rank)
        again = c.run.activation_checkpointing
        self.longest = longest
        self.memory: CardMemory | None = card_memory(model, chip, cards, again, rank, longest)

    def stages(self) -> list[StagePlan]:
        """SFT, the sweep, one phase, and the whole run; none where the model does not fit."""
        if self.memory is None:
            return []
        stages = [self.sft, self.sweep, self.phase]
        whole = self.sft + self.sweep + self.phase * self.config.dft.phases
        return [*stages, replace(whole, stage="run")]

    @cached_property
    def sft(self) -> StagePlan:
        """Every variant: a learning rate on a share of the texts."""
        c = self.config.sft
        texts = self.train.first(min(c.max_texts or len(self.train), len(self.train)))
        total = StagePlan("sft", 0.0, 0, 0.0)
        for fraction, epochs in product(c.fractions, c.epochs):
            how = Training(c.rank, c.batch_tokens, c.micro_tokens, epochs)
            one = self.learn(texts.first(round(fraction * len(texts))), how)
            total += one * len(c.learning_rates)
        return replace(total, stage="sft")

    @cached_property
    def sweep(self) -> StagePlan:
        """Every variant answers every prompt by every sampler; after a race the best of them do."""
        c = self.config
        limits = (c.sweep.prompts, c.evaluation.prompts)
        prompts = min([self.held_out, *(limit for limit in limits if limit)])
        samplers = [
            (k > 0 or p < 1 or m > 0)
            for _, p, k, m in product(
                c.sweep.temperatures, c.sweep.top_p, c.sweep.top_k, c.sweep.min_p
            )
        ]
        answers, filtered = len(samplers) * c.evaluation.draws, float(np.mean(samplers))
        variants = len(c.sft.learning_rates) * len(c.sft.fractions) * len(c.sft.epochs)
        whole = self.sample(self.corpus.first(prompts), answers, filtered) * variants
        if c.sweep.race:
            asked = min(c.sweep.race, max(round(len(self.corpus) * c.data.validation_share), 1))
            race = self.sample(self.corpus.first(asked), len(samplers), filtered) * variants
            whole = race + whole * min(1.0, most_finalists() / (variants * len(samplers)))
        return replace(whole, stage="sweep")

    @cached_property
    def phase(self) -> StagePlan:
        """Candidates, their scores, and the answers to the validation prompts."""
        c = self.config.dft
        validation = self.sample(self.corpus.first(c.validation_prompts), 1)
        prompts = self.train.first(min(c.prompts, len(self.train)))
        work = self.sample(prompts, c.candidates)
        work += self.score(prompts, c.candidates)
        return replace(work + validation, stage="phase")

    def learn(self, texts: TextLengths, how: Training) -> StagePlan:
        """Updates on texts."""
        memory = self._memory
        lengths = texts.prompts + texts.texts
        epochs, cards = how.epochs, self.cards
        computed = epochs * float(lengths.sum())
        steps = epochs * math.ceil(float(lengths.sum()) / how.batch_tokens)
        micro = memory.pass_tokens(how.rank, how.micro_tokens, self.longest) or self.longest
        passes = steps * max(1, math.ceil(how.batch_tokens / cards / micro))
        work = training_pass(
            self.model,
            how.rank,
            computed / cards,
            epochs * causal_pairs(lengths) / cards,
            epochs * float(texts.texts.sum()) / cards,
            memory.again,
        )
        work = replace(work, layer_passes=work.layer_passes * passes)
        work += optimiser_step(self.model, how.rank) * steps
        # a ring's all-reduce sends every gradient twice to all but one
        sent = steps * 2 * (cards - 1) * 4 * num_adapter_weights(self.model, how.rank)
        if memory.sharded:  # before a layer's forward and before its backward pass
            sent += 2 * passes * (cards - 1) * memory.layer_bytes
        peak = memory.update(how.rank, min(micro, how.batch_tokens))
        return StagePlan("", seconds(work, self.chip) + self._sending(sent), peak.peak, sent)

    def score(self, texts: TextLengths, answers: int) -> StagePlan:
        """A forward pass over answers, and the gradients at the last layer."""
        lengths = texts.prompts + texts.texts
        work = forward(
            self.model,
            float((texts.prompts + answers * texts.texts).sum()) / self.cards,
            answers * causal_pairs(lengths) / self.cards,
            answers * float(texts.texts.sum()) / self.cards,
        )
        return StagePlan("", seconds(work, self.chip), self._memory.policy_bytes, 0.0)

    def sample(self, texts: TextLengths, answers: int, filtered: float = 0.0) -> StagePlan:
        """Answers to every prompt, each about as long as its human text."""
        memory, mean = self._memory, float((texts.prompts + texts.texts).mean())
        most = CPU_SEQUENCES if self.chip.cpu else GPU_SEQUENCES
        seats = memory.seats(most, mean)
        part = max(1, WAVES * most * self.cards // answers)  # prompts of a part
        took, steps = 0.0, 0
        for first in range(0, len(texts), part):
            rows = slice(first, first + part)
            prompts, lengths = texts.prompts[rows], texts.texts[rows]
            slowest = 0.0
            for own in balanced_parts((prompts + answers * lengths).tolist(), self.cards):
                run = token_steps(prompts[own].repeat(answers), lengths[own].repeat(answers), seats)
                steps += len(run.running)
                time = rollout_seconds(self.model, self.chip, prompts[own], run, filtered)
                slowest = max(slowest, time)
            took += slowest
        told = answers * (SAMPLE_BYTES * float(texts.texts.sum()) + 8 * float(texts.prompts.sum()))
        sent = (self.cards - 1) * told
        if memory.sharded:  # every token step gathers all layers
            sent += steps * (self.cards - 1) / self.cards * memory.layer_bytes
        held = memory.policy_bytes + memory.cache_bytes
        return StagePlan("", took + self._sending(sent), held, sent)

    def _sending(self, sent: float) -> float:
        """Seconds of traffic that all cards send at once."""
        return sent / self.cards / self.chip.link if sent else 0.0

    @property
    def _memory(self) -> CardMemory:
        assert self.memory is not None, "the model fits in no way"
        return self.memory

    def as_dict(self) -> dict:
        """The plan as JSON: seconds and bytes."""
        memory = self.memory
        return {
            "card": self.chip.name,
            "cards": self.cards,
            "fits": memory is not None,
            "sharded": bool(memory and memory.sharded),
            "stages": [asdict(stage) for stage in self.stages()],
        }
