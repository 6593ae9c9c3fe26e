"""The settings that phases read, in the form in which they read them: the `dft` section has it."""

from __future__ import annotations

from typing import Protocol


class PhaseWeights(Protocol):
    """How much each discrepancy counts."""

    @property
    def conditional_mmd(self) -> float: ...

    def model_dump(self) -> dict[str, float]:
        """All weights by name of the discrepancy."""
        ...


class PhaseGuards(Protocol):
    """The limits beyond which a phase is given up; the first six count from the start."""

    empty: float
    cut: float
    repetition: float
    copied: float
    entropy: float
    human_nats: float
    loss: float
    length: float
    kl: float


class GradientSettings(Protocol):
    """What a phase by policy gradient reads besides."""

    rounds: int
    prompts: int
    reuse: int
    clip: float
    kl: float
    average: float
    learning_rate: float


class PhaseSettings(Protocol):
    """What phases and the loop over them read; `dftfast.config` says what each key means."""

    phases: int
    minutes: float | None
    prompts: int
    candidates: int
    candidate_temperatures: list[float]
    overshoot: float
    contrast: float
    repeats: float
    human_share: float
    temperature: float
    min_p: float
    rank: int
    alpha: float
    learning_rate: float
    epochs: int
    batch_tokens: int
    micro_tokens: int

    @property
    def weights(self) -> PhaseWeights: ...

    @property
    def guards(self) -> PhaseGuards: ...

    @property
    def gradient(self) -> GradientSettings: ...
