"""Credit for tokens: repeats of the rejected, common phrases of the chosen, each up to the human share."""

from __future__ import annotations

import math

import pytest
import torch

from dftfast.distribution.samples import Samples
from dftfast.training.credit import CommonPhrases, excess_repetition, rejection

PHRASE = [1, 2, 3, 4, 5]


def samples(texts: list[list[int]]) -> Samples:
    return Samples.of(torch.zeros(len(texts), 1), texts, [""] * len(texts))


def test_repeats_of_a_rejected_text_weigh_more():
    tokens, logprobs = [1, 2, 3, 4, 9, 1, 2, 3, 4, 2, 3, 4], [math.log(0.5)] * 12
    assert rejection(tokens, logprobs, 0.5, 0.0) == pytest.approx([-1] * 12)
    assert rejection(tokens, logprobs, 0.5, 3.0) == pytest.approx([-1] * 5 + [-4] * 4 + [-1] * 3)
    assert rejection(tokens[:3], logprobs[:3], 1.0, 3.0) == pytest.approx([-2] * 3)


@pytest.mark.parametrize("policy, excess", [(0.5, 0.75), (0.125, 0.0), (0.0, 0.0)])
def test_excess_repetition_ends_at_the_human_share(policy, excess):
    human = samples([[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 1, 2, 3, 4]])  # one of eight 4-grams repeats one of its text
    assert excess_repetition(human, policy) == pytest.approx(excess)


def test_common_phrases_of_a_chosen_text_weigh_more_by_what_the_candidates_lack():
    human = samples([PHRASE + [6], [7] + PHRASE, PHRASE + [8], [9] + PHRASE])  # 5 of 6 tokens, in four texts
    phrases = CommonPhrases(human, samples([PHRASE + [1], [1, 2, 3, 4, 6, 5]]))  # 5 of 12
    assert phrases.lack == pytest.approx(0.5)
    assert phrases.weights([9, *PHRASE, 9], 4.0) == pytest.approx([1, 3, 3, 3, 3, 3, 1])
    assert phrases.weights([1, 2, 3, 4], 4.0) == pytest.approx([1] * 4)
    assert CommonPhrases(human, samples([PHRASE])).lack == 0.0


def test_a_phrase_of_three_human_texts_is_common_in_others_only():
    """A human text's own phrase does not make it common; where no text has one, nothing is lacking."""
    human = samples([PHRASE, PHRASE, PHRASE, [6, 7]])
    phrases = CommonPhrases(human, samples([[6, 7]]))
    assert phrases.lack == 0.0
    assert phrases.weights(PHRASE, 4.0) == pytest.approx([1] * 5)
