"""How tokens are drawn: the settings of a request, and their effect on a row of logits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from dftfast.runtime.errors import UserError


@dataclass(frozen=True)
class Sampler:
    """Settings of one request.

    The defaults sample the model's own distribution, as training rollouts must.

    Order of application: `logit_bias` and `banned_token_ids`, `repetition_penalty` (of tokens in
    the prompt or the output; CTRL, Keskar et al. 2019), `temperature`, then `top_k`, `top_p` and
    `min_p`.

    Attributes:
        temperature: 0 is greedy; 1 leaves the distribution as it is.
        top_k: keep the k most likely tokens; 0 keeps all.
        top_p: keep the smallest set of most likely tokens with at least this probability, in (0,
            1].
        min_p: keep tokens with at least this share of the most likely token's probability, in [0,
            1].
        repetition_penalty: > 0; 1 is off.
        max_tokens: generated tokens at most; reaching it finishes with the reason "length".
        min_tokens: no stop token (and no stop by a string) before this many tokens.
        stop_token_ids: end the sample, besides the model's own end tokens.
        stop_strings: end the sample when the generated text holds one of them (needs the engine's
            tokenizer).
        banned_token_ids: never sampled.
        logit_bias: token id -> number added to its logit.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_tokens: int = 256
    min_tokens: int = 0
    stop_token_ids: tuple[int, ...] = ()
    stop_strings: tuple[str, ...] = ()
    banned_token_ids: tuple[int, ...] = ()
    logit_bias: dict[int, float] = field(default_factory=dict)

    def __post_init__(self):
        for name, value in vars(self).items():
            if isinstance(value, np.generic):  # rows of generations hold Python's numbers
                object.__setattr__(self, name, value.item())
        for name in ("stop_token_ids", "stop_strings", "banned_token_ids"):
            value = getattr(self, name)
            _require(not isinstance(value, str), name, value, "a list")
            object.__setattr__(self, name, tuple(value))
        t, k = self.temperature, self.top_k
        _require(_finite(t) and t >= 0, "temperature", t, "a number of at least 0")
        _require(_whole(k) and k >= 0, "top_k", k, "0 (off) or a positive integer")
        _require(_finite(self.top_p) and 0 < self.top_p <= 1, "top_p", self.top_p, "in (0, 1]")
        _require(_finite(self.min_p) and 0 <= self.min_p <= 1, "min_p", self.min_p, "in [0, 1]")
        penalty = self.repetition_penalty
        _require(
            _finite(penalty) and penalty > 0,
            "repetition_penalty",
            penalty,
            "greater than 0 (1 is off)",
        )
        _require(
            _whole(self.max_tokens) and self.max_tokens >= 1,
            "max_tokens",
            self.max_tokens,
            "at least 1",
        )
        _require(
            _whole(self.min_tokens) and 0 <= self.min_tokens <= self.max_tokens,
            "min_tokens",
            self.min_tokens,
            f"between 0 and max_tokens ({self.max_tokens})",
        )
        _require(
            all(isinstance(s, str) and s for s in self.stop_strings),
            "stop_strings",
            self.stop_strings,
            "texts",
        )
        for name in ("stop_token_ids", "banned_token_ids", "logit_bias"):
            value = getattr(self, name)
            _require(
                all(_whole(token) and token >= 0 for token in value),
                name,
                value,
                "made of token ids",
            )
        _require(
            all(_finite(b) for b in self.logit_bias.values()),
            "logit_bias",
            self.logit_bias,
            "finite",
        )

    @property
    def settings(self) -> dict[str, float]:
        """What a row of generations says of it."""
        names = ("temperature", "top_k", "top_p", "min_p", "max_tokens")
        return {name: getattr(self, name) for name in names}

    @property
    def bends(self) -> bool:
        """Whether it changes logits before the temperature does."""
        return bool(self.logit_bias or self.banned_token_ids) or self.repetition_penalty != 1

    @property
    def whole(self) -> bool:
        """Whether every token can be drawn, so that scoring the full vocabulary is on-policy."""
        cut = self.top_k or self.top_p < 1 or self.min_p or self.min_tokens
        return self.temperature > 0 and not cut and not self.bends

    def check_vocabulary(self, vocab_size: int) -> None:
        """Raise UserError for a token id outside the vocabulary, or when every token is banned."""
        for name in ("stop_token_ids", "banned_token_ids", "logit_bias"):
            wrong = [token for token in getattr(self, name) if token >= vocab_size]
            if wrong:
                raise UserError(
                    f"sampler: {name} holds {wrong[0]}, but the vocabulary has {vocab_size} tokens"
                )
        if len(set(self.banned_token_ids)) >= vocab_size:
            raise UserError("sampler: banned_token_ids leaves no token to sample")


def bend_logits(
    logits: Tensor, sampler: Sampler, tokens: Sequence[int], held_back: Sequence[int]
) -> None:
    """Apply bias, bans and repetition penalty to one row, in place.

    Args:
        logits: [V] of one sequence.
        tokens: prompt and output so far, for the repetition penalty.
        held_back: tokens banned at this step only (the stop tokens before `min_tokens`).
    """
    device = logits.device
    if sampler.logit_bias:
        index = torch.tensor(list(sampler.logit_bias), device=device)
        logits[index] += torch.tensor(
            list(sampler.logit_bias.values()), dtype=logits.dtype, device=device
        )
    if sampler.repetition_penalty != 1:
        seen = torch.tensor(tokens, device=device).unique()
        value = logits[seen]
        penalty = sampler.repetition_penalty
        logits[seen] = torch.where(value > 0, value / penalty, value * penalty)
    banned = [*sampler.banned_token_ids, *held_back]
    if banned:
        logits[torch.tensor(banned, device=device)] = -math.inf


def _finite(value) -> bool:
    """Numbers of numpy are numbers too; booleans are not."""
    number = isinstance(value, (int, float)) or isinstance(value, (np.integer, np.floating))
    return number and not isinstance(value, bool) and math.isfinite(value)


def _whole(value) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _require(condition: bool, name: str, value, wanted: str) -> None:
    if not condition:
        raise UserError(f"sampler: {name} = {value!r} must be {wanted}")
