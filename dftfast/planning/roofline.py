"""Seconds of counted work: each kind at the share of a limit that it reaches."""

from __future__ import annotations

import numpy as np

from dftfast.model.config import ModelConfig
from dftfast.planning.chips import Chip
from dftfast.planning.rollout_steps import Steps
from dftfast.planning.work import Work, causal_pairs, forward, head_weights
from dftfast.rollout.memory import num_layer_weights


def seconds(work: Work, chip: Chip, prompts: bool = False) -> float:
    """Time of passes on one card, which are the work's or, where longer, the host's.

    Args:
        prompts: the pass reads prompts into the paged cache.
    """
    shares = chip.shares
    products = shares.prompt_products if prompts else shares.products
    attention = shares.prompt_attention if prompts else shares.attention
    card = (
        work.products / (chip.matrix * products)
        + work.attention / (chip.matrix * attention)
        + work.head / (chip.matrix * shares.head)
        + work.rows / (chip.bandwidth * shares.rows)
    )
    host = work.layer_passes * chip.layer_seconds
    # a processor is host and card in one
    return card + host if chip.cpu else max(card, host)


def step_seconds(
    config: ModelConfig, chip: Chip, running: np.ndarray, cached: np.ndarray, filtered: float
) -> np.ndarray:
    """Seconds of token steps, fp64 [steps].

    The products of a step take what bringing the weights takes or, where that is longer, what
    computing takes.

    Args:
        running: sequences of each step.
        cached: tokens in the cache of all of them.
        filtered: share of the sequences that are sampled by top-k or top-p.
    """
    shares = chip.shares
    weights = num_layer_weights(config) + head_weights(config)
    moved = 2 * weights / (chip.bandwidth * shares.step_weights)
    computed = 2 * weights * running / (chip.matrix * shares.step_products)
    token = 4 * config.num_layers * config.num_kv_heads * config.head_dim
    cache = token * cached / (chip.bandwidth * shares.step_cache)
    logit = (1 - filtered) / shares.sampler + filtered / shares.filtered_sampler
    sampling = 4 * config.vocab_size * running * logit / chip.bandwidth
    return np.maximum(moved, computed) + cache + sampling + chip.step_seconds


def rollout_seconds(
    config: ModelConfig, chip: Chip, prompts: np.ndarray, steps: Steps, filtered: float = 0.0
) -> float:
    """Prompts, each computed once, and then the token steps."""
    reading = forward(config, float(prompts.sum()), causal_pairs(prompts), 0)
    reading = seconds(Work(reading.products, reading.attention, 0, reading.rows), chip, True)
    return reading + float(step_seconds(config, chip, steps.running, steps.cached, filtered).sum())
