"""Long texts in pieces: nothing is lost, and a piece is likely as part of its text."""

from __future__ import annotations

import numpy as np
import torch

from dftfast.dft import pieces
from dftfast.dft.context import Rollouts
from dftfast.dft.pieces import cut, examples, groups, piece_bounds, piece_rollouts
from dftfast.dft.regression import regression_phase
from dftfast.distribution.samples import Samples
from dftfast.model.lora import remove_adapter
from dftfast.optimise.likelihood import token_logprobs
from dftfast.optimise.packing import Example


def samples_of(context, tokens):
    texts = [context.tokenizer.decode(each) for each in tokens]
    return Samples.of(context.embed(texts), tokens, texts)


def test_pieces_are_equal_parts_of_about_a_hundred_tokens():
    assert piece_bounds(149) == [0, 149] and piece_bounds(1) == [0, 1]
    assert piece_bounds(151) == [0, 76, 151] and piece_bounds(600) == list(range(0, 601, 100))


def test_a_text_is_as_likely_as_its_pieces_together(context, monkeypatch):
    monkeypatch.setattr(pieces, "PIECE", 5)
    prompts = context.examples[:3]
    tokens = [e.completion[:n] for e, n in zip((*prompts, *prompts), (4, 9, 16, 3, 12, 7))]
    prompt = [0, 1, 2, 0, 1, 2]
    drawn = cut(context, samples_of(context, tokens))
    assert [drawn.samples.tokens_of(i) for i in np.flatnonzero(drawn.text == 2).tolist()] == [
        tokens[2][a:b] for a, b in ((0, 5), (5, 11), (11, 16))
    ]
    whole = [Example(prompts[p].prompt, own) for p, own in zip(prompt, tokens)]
    parts = examples(drawn, prompts, prompt)
    decoder = context.policy.decoder
    sums = np.array(list(map(sum, token_logprobs(decoder, parts))))
    wanted = list(map(sum, token_logprobs(decoder, whole)))
    np.testing.assert_allclose(np.bincount(drawn.text, sums), wanted, rtol=1e-4)
    group = groups(drawn, prompt)
    for g in range(group.max() + 1):
        (p,) = {prompt[text] for text in drawn.text[group == g]}
        (number,) = set(drawn.number[group == g].tolist())
        rollouts = Rollouts(drawn.samples, prompt, [], 0.0, {})
        _, asked, _ = piece_rollouts(context, prompts, rollouts, drawn)
        bounds = piece_bounds(len(prompts[p].completion))
        assert asked[g].completion == prompts[p].completion[bounds[number] : bounds[number + 1]]


def test_short_texts_are_left_as_they_are(context):
    drawn = samples_of(context, [e.completion[:40] for e in context.examples[:4]])
    whole = cut(context, drawn)
    assert whole.samples is drawn and not whole.several


def test_a_phase_of_pieces_moves_them_towards_their_targets(context, monkeypatch):
    monkeypatch.setattr(pieces, "PIECE", 6)
    small = {"prompts": 60, "candidates": 4, "batch_tokens": 400, "learning_rate": 0.01}
    monkeypatch.setattr(context, "settings", context.settings.model_copy(update=small))
    torch.manual_seed(0)
    rounds = regression_phase(context, 1)["rounds"]
    remove_adapter(context.policy.decoder)
    context.policy.merge_weights()
    assert rounds[0]["nats"] == 0 and rounds[-1]["explained"] > 0.02
