"""Packing, the optimiser and the likelihood loop against hand-made cases."""

from __future__ import annotations

import itertools
import random

import pytest
import torch
from families import save_random_model

from dftfast.model.policy import Policy
from dftfast.model.weights import load_decoder
from dftfast.optimise.fit import FitSettings, backward, fit
from dftfast.optimise.likelihood import likelihood, nats_per_token, token_logprobs
from dftfast.optimise.optimiser import Optimiser
from dftfast.optimise.packing import Example, batches, by_budget, pack
from dftfast.runtime.errors import Diverged


def random_examples(count, seed=0):
    rng = random.Random(seed)

    def tokens(least, most):
        return [rng.randrange(3, 259) for _ in range(rng.randint(least, most))]

    return [Example(tokens(1, 6), tokens(2, 12)) for _ in range(count)]


def trained_policy(folder):
    """A random model with an adapter that is not zero, and the adapter's parameters."""
    save_random_model("qwen3", folder)
    policy = Policy(folder, torch.float32)
    parameters = policy.begin_phase(4, 8, seed=0)
    for parameter in parameters:
        parameter.data.add_(0.02)
    return policy, parameters


def test_pack_has_no_padding_and_right_targets():
    batch = pack([Example([5, 6], [7, 8], weight=0.5), Example([9], [10])])
    assert batch.tokens.tolist() == [5, 6, 7, 9]
    assert batch.positions.tolist() == [0, 1, 2, 0]
    assert batch.offsets.tolist() == [0, 3, 4]
    assert batch.rows.tolist() == [1, 2, 3] and batch.targets.tolist() == [7, 8, 10]
    assert batch.weights.tolist() == [0.5, 0.5, 1.0]


def test_documents_share_the_hidden_states_of_what_they_begin_with(tmp_path):
    policy, parameters = trained_policy(tmp_path)
    mine, others = random_examples(4), random_examples(12, seed=1)
    system = [5, 6, 7, 5]
    examples = [
        Example(system + mine[i % 4].prompt, e.completion, 0.1 * i - 0.5)
        for i, e in enumerate(others)
    ]
    examples.append(Example(system[:2], system[2:]))  # no more than a beginning of others
    random.Random(0).shuffle(examples)
    batch = pack(examples)
    sequences = [e.prompt + e.completion for e in examples]
    beginnings = {tuple(s[:end]) for s in sequences for end in range(1, len(s))}
    assert (
        len(batch.distinct)
        == len(beginnings)
        < len(batch.tokens)
        == sum(map(len, examples)) - len(examples)
    )
    assert torch.equal(batch.tokens[batch.distinct][batch.place], batch.tokens)
    assert torch.equal(batch.positions[batch.distinct][batch.place], batch.positions)
    value = backward(policy.decoder, batch, 1 / 100, likelihood)
    together = [p.grad.clone() for p in parameters]
    for parameter in parameters:
        parameter.grad = None
    alone = sum(
        backward(policy.decoder, pack([example]), 1 / 100, likelihood) for example in examples
    )
    assert value == pytest.approx(alone, rel=1e-5)
    for shared, parameter in zip(together, parameters):
        assert torch.allclose(shared, parameter.grad, rtol=1e-4, atol=1e-6)


def test_logprobs_come_in_the_order_of_the_examples(tmp_path):
    policy, _ = trained_policy(tmp_path)
    examples = random_examples(9)
    for found, example in zip(token_logprobs(policy.decoder, examples, 40), examples, strict=True):
        assert found == pytest.approx(token_logprobs(policy.decoder, [example])[0], abs=1e-4)


def test_batches_cover_every_example_once_an_epoch():
    examples = random_examples(50)
    steps = list(batches(examples, tokens=60, epochs=2, seed=1))
    assert all(sum(map(len, step)) <= 60 for step in steps)
    seen = [id(example) for step in steps for example in step]
    assert sorted(seen) == sorted(2 * [id(example) for example in examples])
    assert seen[:50] != seen[50:]
    assert by_budget([Example([1] * 99, [2])], tokens=10) == [[Example([1] * 99, [2])]]


def test_gradient_does_not_depend_on_micro_batches(tmp_path):
    policy, parameters = trained_policy(tmp_path)
    examples = random_examples(12)
    gradients = []
    for budget in (10_000, 40):
        for group in by_budget(examples, budget):
            backward(policy.decoder, pack(group), 1 / 100, likelihood)
        gradients.append([p.grad.clone() for p in parameters])
        for parameter in parameters:
            parameter.grad = None
    for whole, cut in zip(*gradients):
        assert torch.allclose(whole, cut, rtol=1e-4, atol=1e-6)


def test_full_fine_tuning_moves_bf16_weights_through_fp32_masters(tmp_path):
    save_random_model("qwen3", tmp_path)
    decoder = load_decoder(tmp_path, torch.bfloat16)
    examples = random_examples(20)
    before = nats_per_token(decoder, examples)
    parameters = [p.requires_grad_() for p in decoder.parameters()]
    fit(
        decoder,
        parameters,
        examples,
        FitSettings(3e-4, epochs=8, batch_tokens=200),
        seed=0,
        log=lambda record: None,
    )
    assert nats_per_token(decoder, examples) < before - 0.3
    assert all(p.dtype == torch.bfloat16 for p in parameters)


def test_non_finite_gradients_are_skipped_and_then_stop_the_run():
    weight = torch.nn.Parameter(torch.ones(3))
    optimiser = Optimiser([weight], learning_rate=0.1, total_steps=100)
    weight.grad = torch.full((3,), float("nan"))
    norm, taken = optimiser.step()
    assert not taken and norm != norm and torch.equal(weight.data, torch.ones(3))
    with pytest.raises(Diverged, match="non-finite"):
        for _ in range(Optimiser.MAX_SKIPPED):
            weight.grad = torch.full((3,), float("inf"))
            optimiser.step()


def test_rate_warms_up_and_decays_to_zero():
    weight = torch.nn.Parameter(torch.ones(1))
    optimiser = Optimiser([weight], learning_rate=1.0, total_steps=20, warmup=0.2)
    rates = []
    for _ in range(20):
        rates.append(optimiser.rate())
        weight.grad = torch.ones(1)
        optimiser.step()
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0] and rates[4] == 1.0
    assert all(a >= b for a, b in itertools.pairwise(rates[4:])) and rates[-1] < 0.02


def test_recomputed_layers_give_the_same_gradients(tmp_path):
    policy, parameters = trained_policy(tmp_path)
    batch = pack(random_examples(12))

    def saved_bytes_and_gradients(share):
        policy.decoder.set_activation_checkpointing(share)
        assert sum(layer.activation_checkpointing for layer in policy.decoder.layers) == round(
            3 * share
        )
        sizes = {}

        def note(tensor):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = likelihood(policy.decoder, batch, 1 / 100)
        loss.backward()
        gradients = [p.grad for p in parameters]
        for parameter in parameters:
            parameter.grad = None
        return sum(sizes.values()), gradients

    kept, expected = saved_bytes_and_gradients(0.0)
    for share in (1 / 3, 1.0):
        saved, gradients = saved_bytes_and_gradients(share)
        assert all(torch.equal(a, b) for a, b in zip(gradients, expected))
        assert saved < kept * (1 - 0.6 * share)
