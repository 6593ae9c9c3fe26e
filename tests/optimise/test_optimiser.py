"""The optimiser refuses steps that would ruin the weights."""

from __future__ import annotations

import torch

from dftfast.optimise.optimiser import Optimiser


def test_an_exploding_loss_is_skipped_and_the_rate_halved():
    weight = torch.nn.Parameter(torch.ones(2))
    optimiser = Optimiser([weight], 0.1, 100, warmup=0.0, loss_limit=3.0)
    nan = float("nan")
    for loss, taken in [(2.0, True), (2.2, True), (50.0, False), (2.0, True), (nan, False)]:
        before = weight.detach().clone()
        weight.grad = torch.ones(2)
        assert optimiser.step(loss)[1] is taken and torch.equal(before, weight) is not taken
    assert optimiser.learning_rate == 0.05 and optimiser.skipped_in_a_row == 1
