"""Gradients of texts are those of autograd, no text sees itself, an adapter moves as planned."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dftfast.dft import gradients as module
from dftfast.dft.gradients import Sides, TextGradients, adapter_of, sides, token_gradients
from dftfast.optimise.likelihood import likelihood, token_logprobs
from dftfast.optimise.packing import Example, pack


@pytest.fixture(scope="module")
def texts(context) -> tuple[list[Example], np.ndarray]:
    """Texts of 30 prompts, four each: those of other prompts, so that they differ."""
    prompts = context.examples[:30]
    found = [
        Example(example.prompt, context.examples[(i * 7 + k) % 60].completion)
        for i, example in enumerate(prompts)
        for k in range(1, 5)
    ]
    return found, np.repeat(np.arange(30), 4)


@pytest.fixture(scope="module")
def whole(context) -> Sides:
    return sides(context.policy.decoder, 10)


@pytest.fixture(scope="module")
def gradients(context, texts, whole) -> TextGradients:
    return TextGradients(
        token_gradients(context.policy.decoder, texts[0], 2048, whole), texts[1], seed=0
    )


def test_a_gradient_is_that_of_a_texts_log_probability(context, texts, whole):
    decoder = context.policy.decoder
    found = token_gradients(decoder, texts[0][:4], 2048, whole)
    weight = decoder.layers[-1].o.weight
    for example, (out, inside) in zip(texts[0], found):
        assert len(out) == len(inside) == len(example.completion)
        weight.requires_grad_()
        loss = likelihood(decoder, pack([example]), 1.0)
        (gradient,) = torch.autograd.grad(loss, weight)
        weight.requires_grad_(False)
        torch.testing.assert_close(out.T @ inside, -gradient, rtol=1e-3, atol=1e-5)


def test_texts_of_one_batch_have_scores_of_their_own(context, texts, whole):
    """Those of a prompt share its computation, and none of their gradients."""
    decoder = context.policy.decoder
    together = token_gradients(decoder, texts[0][:8], 2048, whole)
    alone = [token_gradients(decoder, [each], 2048, whole)[0] for each in texts[0][:8]]
    for mine, other in zip(together, alone):
        for found, wanted in zip(mine, other):
            torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5)


def test_gradients_are_centred_within_prompts(gradients):
    total = torch.zeros(30, gradients.rows.shape[1])
    total.index_add_(0, torch.from_numpy(gradients.prompt), gradients.rows.float())
    assert total.abs().max() < 1e-4 * float(gradients.rows.abs().max()) * 10
    torch.testing.assert_close(gradients.gram, gradients.gram.T)


def test_a_credit_that_scores_hold_is_foreseen_and_chance_is_not(gradients):
    rng = np.random.default_rng(1)
    direction = torch.from_numpy(rng.normal(size=gradients.rows.shape[1])).float()
    held = (gradients.rows.float() @ direction).numpy().astype(float)
    strongest = torch.linalg.eigh(gradients.gram).eigenvectors[:, -1].numpy()
    chance = rng.normal(size=len(held))
    found = gradients.foreseen(np.stack([strongest, chance], axis=1))
    assert np.corrcoef(found[:, 0], strongest)[0, 1] > 0.5
    assert abs(np.corrcoef(found[:, 1], chance)[0, 1]) < 0.35


def test_nothing_of_the_own_prompt_is_foreseen(gradients):
    credits = np.random.default_rng(4).normal(size=(len(gradients.prompt), 1))
    other, own = credits.copy(), gradients.fold == gradients.fold[0]
    other[own] = 9
    found, wanted = gradients.foreseen(other), gradients.foreseen(credits)
    np.testing.assert_allclose(found[own], wanted[own])
    assert not np.allclose(found[~own], wanted[~own])
    for prompt in np.unique(gradients.prompt):
        assert len(set(gradients.fold[gradients.prompt == prompt])) == 1


def test_coefficients_solve_the_regression(gradients):
    credits = np.random.default_rng(5).normal(size=(len(gradients.prompt), 2))
    found = gradients.coefficients(credits)
    gram = gradients.gram.numpy() + float(gradients.penalty) * np.eye(len(credits))
    np.testing.assert_allclose(gram @ found, credits, atol=1e-6)
    direction = gradients.direction(found[:, 0])
    wanted = np.einsum("n,nm->m", found[:, 0], gradients.rows.float().numpy())
    np.testing.assert_allclose(direction.flatten(), wanted, rtol=1e-3, atol=1e-5)


def test_an_adapter_moves_texts_as_their_scores_say(context, texts, whole, gradients):
    """To first order: the log-ratios are what the direction has in common with each gradient."""
    policy = context.policy
    coefficients = gradients.coefficients(np.random.default_rng(6).normal(size=(120, 1)))[:, 0]
    wanted = gradients.gram.numpy() @ coefficients
    small = 0.02 / wanted.std()
    change = gradients.direction(coefficients * small)
    adapter, held = adapter_of(policy.decoder, change, whole, rank=1000)
    assert held == pytest.approx(1) and adapter.rank == min(gradients.shape)
    before = token_logprobs(policy.decoder, texts[0])
    policy.add(adapter)
    after = token_logprobs(policy.decoder, texts[0])
    policy.adapters.pop()
    policy.merge_weights()
    moved = np.array([sum(a) - sum(b) for a, b in zip(after, before)])
    means = np.bincount(texts[1], moved) / 4
    centred = moved - means[texts[1]]
    assert np.corrcoef(centred, wanted)[0, 1] > 0.99
    assert centred.std() == pytest.approx(0.02, rel=0.1)


def test_a_rank_holds_the_largest_part_of_a_change(context, whole):
    shape = (whole.out.shape[1], whole.inside.shape[1])
    change = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    adapter, held = adapter_of(context.policy.decoder, change, whole, rank=3)
    (a,) = [t for name, t in adapter.tensors.items() if "lora_A" in name]
    (b,) = [t for name, t in adapter.tensors.items() if "lora_B" in name]
    left, sizes, right = torch.linalg.svd(change)
    torch.testing.assert_close(b @ a, left[:, :3] * sizes[:3] @ right[:3], rtol=1e-3, atol=1e-4)
    assert 0 < held < 1 and adapter.rank == 3
    adapter.check(context.policy.decoder)


def test_many_texts_have_scores_of_fewer_coordinates(context, texts, monkeypatch):
    decoder = context.policy.decoder
    monkeypatch.setattr(module, "GRADIENT_BYTES", 120 * 4 * 64 * 80)
    narrow = sides(decoder, 120)
    widths = [side.shape[1] for side in narrow]
    assert np.prod(widths) * 120 * 4 <= module.GRADIENT_BYTES
    for side in narrow:
        torch.testing.assert_close(side.T @ side, torch.eye(side.shape[1]), rtol=0, atol=1e-5)
    found = token_gradients(decoder, texts[0][:3], 2048, narrow)
    assert [part.shape[1] for part in found[0]] == widths
