"""Settings are checked, and logits are bent as documented."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dftfast.rollout.request import Request
from dftfast.rollout.sampler import Sampler, bend_logits
from dftfast.runtime.errors import UserError


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": -1},
        {"temperature": math.nan},
        {"temperature": "1"},
        {"top_k": -1},
        {"top_k": 2.5},
        {"top_p": 0},
        {"top_p": 1.1},
        {"min_p": -0.1},
        {"repetition_penalty": 0},
        {"max_tokens": 0},
        {"min_tokens": 257},
        {"stop_token_ids": [-1]},
        {"stop_token_ids": [True]},
        {"stop_strings": [""]},
        {"stop_strings": "###"},
        {"banned_token_ids": ["a"]},
        {"logit_bias": {1: math.inf}},
    ],
)
def test_wrong_settings_name_the_field(settings):
    [name] = settings
    with pytest.raises(UserError, match=f"sampler: {name} = .* must be"):
        Sampler(**settings)


def test_vocabulary_is_checked():
    with pytest.raises(UserError, match="stop_token_ids holds 9, but the vocabulary has 9 tokens"):
        Sampler(stop_token_ids=[9]).check_vocabulary(9)
    with pytest.raises(UserError, match="leaves no token"):
        Sampler(banned_token_ids=range(9)).check_vocabulary(9)
    Sampler(banned_token_ids=range(8)).check_vocabulary(9)


def test_only_untruncated_sampling_is_whole():
    assert Sampler(temperature=0.8).whole
    for cut in (
        {"top_k": 5},
        {"top_p": 0.9},
        {"min_p": 0.1},
        {"temperature": 0},
        {"banned_token_ids": [1]},
    ):
        assert not Sampler(**cut).whole


def test_bias_penalty_and_bans():
    logits = torch.tensor([1.0, -1.0, 2.0, -2.0, 0.5])
    sampler = Sampler(repetition_penalty=2.0, logit_bias={4: 1.5, 0: -2.0}, banned_token_ids=[2])
    bend_logits(logits, sampler, tokens=[3, 3, 4], held_back=[1])
    assert logits.tolist() == [-1.0, -math.inf, -math.inf, -4.0, 1.0]


def test_repetition_penalty_is_that_of_transformers():
    from transformers import RepetitionPenaltyLogitsProcessor

    torch.manual_seed(0)
    logits, tokens = torch.randn(50), [1, 4, 4, 30]
    expected = RepetitionPenaltyLogitsProcessor(1.3)(torch.tensor([tokens]), logits[None].clone())[
        0
    ]
    bend_logits(logits, Sampler(repetition_penalty=1.3), tokens, [])
    torch.testing.assert_close(logits, expected)


def test_numbers_of_numpy_are_numbers():
    sampler = Sampler(temperature=np.float32(0.5), top_k=np.int64(3), max_tokens=np.int32(7))
    assert sampler == Sampler(0.5, 3, max_tokens=7)
    assert all(type(value) in (int, float) for value in sampler.settings.values())
    with pytest.raises(UserError, match="top_k = -1 must be 0"):
        Sampler(top_k=np.int64(-1))
    with pytest.raises(UserError, match="seed = 9223372036854775808 must be from 0"):
        Request(0, [1], seed=2**63)
