"""The baselines: gradients against autograd, each method on a tiny model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from families import save_random_model

from dftfast.baselines.ebft import FeatureMatching
from dftfast.baselines.expected_reward import TOKENS, expected_reward
from dftfast.baselines.gad import BradleyTerry
from dftfast.baselines.hidden_mmd import mmd2, penalised_likelihood
from dftfast.baselines.iq_learn import PENALTY, inverse_soft_q
from dftfast.baselines.target_kl import PRIOR, SmoothedBigrams
from dftfast.baselines.textgail import Discriminator
from dftfast.dft.context import Rollouts
from dftfast.distribution.samples import Samples
from dftfast.model.attention import packed_causal
from dftfast.model.lora import adapter_off, adapter_tensors
from dftfast.model.policy import Policy
from dftfast.optimise.likelihood import token_logprobs
from dftfast.optimise.packing import Example, pack

EXAMPLES = [Example([5, 6], [7, 8, 7]), Example([9], [10, 11], 0.5), Example([3, 4, 5], [6])]


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_random_model("qwen3", folder)
    return Policy(folder, torch.float32)


def samples(texts: list[list[int]]) -> Samples:
    return Samples.of(torch.zeros(len(texts), 1), texts, [""] * len(texts))


def whole_logits(policy, batch):
    hidden = policy.decoder(batch.tokens, batch.positions, packed_causal(batch.offsets))[batch.rows]
    return hidden, hidden.double() @ policy.decoder.head_weight.double().T


def test_expected_reward_and_its_gradient():
    torch.manual_seed(0)
    h = torch.randn(TOKENS + 3, 8, dtype=torch.float32, requires_grad=True)
    weight, reward = torch.randn(11, 8), torch.randn(TOKENS + 3, 11)
    value = expected_reward(h, weight, lambda rows, _: reward[rows])
    (gradient,) = torch.autograd.grad(2 * value, h)
    exact = h.detach().double().requires_grad_()
    expected = ((exact @ weight.double().T).softmax(1) * reward.double()).sum()
    (wanted,) = torch.autograd.grad(2 * expected, exact)
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(gradient.double(), wanted, rtol=1e-4, atol=1e-5)


def test_expected_reward_of_minus_log_probability_is_entropy():
    torch.manual_seed(0)
    h, weight = torch.randn(5, 8, requires_grad=True), torch.randn(11, 8)
    value = expected_reward(h, weight, lambda _, logprobs: -logprobs)
    (gradient,) = torch.autograd.grad(value, h)
    entropy = torch.distributions.Categorical(logits=h @ weight.T).entropy().sum()
    torch.testing.assert_close(value, entropy)
    torch.testing.assert_close(gradient, torch.autograd.grad(entropy, h)[0], rtol=1e-4, atol=1e-6)


def test_inverse_soft_q_is_likelihood_and_penalty(policy):
    batch = pack(EXAMPLES)
    _, logits = whole_logits(policy, batch)
    q = logits.gather(1, batch.targets[:, None])[:, 0]
    v = logits.logsumexp(1)
    follows = torch.stack([v[1], v[2], v[0] * 0, v[4], v[0] * 0, v[0] * 0])
    wanted = 0.1 * (batch.weights * (v - q + PENALTY * (q - follows).square())).sum()
    torch.testing.assert_close(
        inverse_soft_q(policy.decoder, batch, 0.1).double(), wanted, rtol=1e-4, atol=1e-5
    )


def test_hidden_mmd_ignores_own_samples_in_the_likelihood(policy):
    human = [Example([5, 6], [7, 8]), Example([9], [10, 11])]
    own = [Example([5, 6], [3, 3], 0.0), Example([9], [12], 0.0)]
    batch = pack([human[0], own[0], human[1], own[1]])
    hidden, logits = whole_logits(policy, batch)
    likelihood = -(
        batch.weights * logits.log_softmax(1).gather(1, batch.targets[:, None])[:, 0]
    ).sum()
    states = torch.stack([part.mean(0) for part in hidden.split([2, 2, 2, 1])])
    wanted = 0.25 * likelihood + 0.25 * 4 * mmd2(states[[0, 2]], states[[1, 3]])
    torch.testing.assert_close(
        penalised_likelihood(policy.decoder, batch, 0.25).double(), wanted, rtol=1e-4, atol=1e-5
    )


def test_smoothed_bigrams_are_distributions():
    target = SmoothedBigrams(samples([[1, 2, 3], [1, 2, 4], [2, 2]]), vocab=6)
    found = target.log_probability(torch.tensor([2, 5])).double().exp()
    torch.testing.assert_close(
        found.sum(1), torch.ones(2, dtype=torch.float64), rtol=1e-5, atol=1e-5
    )
    counts = torch.tensor([0.0, 0, 1, 1, 1, 0], dtype=torch.float64)
    torch.testing.assert_close(
        found[0], (counts + PRIOR * target.unigram) / (3 + PRIOR), rtol=1e-5, atol=1e-6
    )
    torch.testing.assert_close(found[1], target.unigram, rtol=1e-5, atol=1e-6)


def test_adapter_off_and_back(policy):
    plain = token_logprobs(policy.decoder, EXAMPLES)
    for parameter in policy.begin_phase(4, 8.0, seed=0):
        parameter.data.add_(0.05)
    before = adapter_tensors(policy.decoder)
    trained = token_logprobs(policy.decoder, EXAMPLES)
    with adapter_off(policy.decoder):
        assert token_logprobs(policy.decoder, EXAMPLES) == plain
    assert token_logprobs(policy.decoder, EXAMPLES) == trained != plain
    assert all(
        torch.equal(a, b) for a, b in zip(before.values(), adapter_tensors(policy.decoder).values())
    )


def rollouts_of(embeddings, prompt):
    texts = [f"Text {i}, one of {len(embeddings)}." for i in range(len(embeddings))]
    drawn = Samples.of(embeddings, [[1, 2]] * len(embeddings), texts)
    return Rollouts(drawn, list(prompt), [], 0.0, {})


def test_feature_matching_by_loops():
    rng = np.random.default_rng(0)
    human, x = (torch.from_numpy(rng.normal(size=(n, 3))) for n in (6, 12))
    prompt, weights = np.repeat(np.arange(6), 2), rng.uniform(0.5, 2, 12)
    found = FeatureMatching(human, rollouts_of(x, prompt)).credits(weights)["matching"]
    whitening = np.linalg.inv(np.cov(human.numpy().T, bias=True))  # φ(a)·φ(b) = aᵀ Σ⁻¹ b
    center = human.mean(0)
    dot = lambda a, b: float((a - center).numpy() @ whitening @ (b - center).numpy())
    for i in range(12):
        sibling = i ^ 1
        wanted = 2 * dot(x[i], human[prompt[i]]) - 2 * dot(x[i], x[sibling])
        assert found[i] == pytest.approx(wanted, rel=1e-3, abs=1e-6)


def test_discriminators_score_what_is_human_higher():
    rng = np.random.default_rng(1)
    human = torch.from_numpy(rng.normal(size=(200, 4))).float()
    shift = torch.tensor(rng.uniform(0, 2, size=(600, 1))).float()  # how far a sample is off
    x = torch.from_numpy(rng.normal(size=(600, 4))).float()
    x[:, :1] += shift
    people = rollouts_of(human, range(200)).samples
    rollouts = rollouts_of(x, np.repeat(np.arange(200), 3))
    for critic in (BradleyTerry(people, rollouts, 0), Discriminator(people, rollouts, 0)):
        (reward,) = critic.credits(np.ones(600)).values()
        assert np.corrcoef(reward, x[:, 0].numpy())[0, 1] < -0.5
        # where only what is like human text weighs, there is less to tell apart
        near = np.where(shift[:, 0].numpy() < 0.3, 1.0, 1e-3)
        slope = lambda reward: -np.polyfit(x[:, 0].numpy(), reward, 1)[0]
        (of_near,) = critic.credits(near).values()
        assert slope(of_near) < 0.7 * slope(reward)
