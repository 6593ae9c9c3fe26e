"""Policy gradient and the baselines: gradients against autograd, each method on a tiny model."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from families import save_random_model

from dftfast.baselines.hidden_mmd import mmd2, penalised_likelihood
from dftfast.baselines.iq_learn import PENALTY, inverse_soft_q
from dftfast.baselines.target_kl import PRIOR, SmoothedBigrams
from dftfast.dft.expected_reward import TOKENS, expected_reward
from dftfast.dft.ngram_reward import NGramReward
from dftfast.dft.policy_gradient import leave_one_out
from dftfast.dft.selection import contrast, excess_repetition, rejection
from dftfast.distribution.ngram_l2 import NGramL2
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


def test_ngram_reward_counts_only_the_completion():
    human, own = samples([[1, 2, 3], [1, 2, 4]]), samples([[1, 2, 2], [2, 2, 4]])
    ngram = NGramL2(vocab=6)
    ngram.fit(human)
    reward = NGramReward(ngram, own)
    batch = pack([Example([0, 1], [2, 2, 4]), Example([2], [1, 2])])
    found = reward.rewards(batch, slice(0, 5))

    def table(n, gram):
        keys, values = reward.tables[n]
        key = 0
        for token in gram:
            key = key * 6 + token
        place = torch.searchsorted(keys, key)
        return float(values[place]) if place < len(keys) and keys[place] == key else 0.0

    written = [[], [2], [2, 2], [], [1]]  # what each row has behind it in its own completion
    for row, behind in enumerate(written):
        for token in range(6):
            wanted = sum(table(n, [*behind, token][-n:]) for n in (1, 2, 3) if len(behind) >= n - 1)
            assert found[row, token] == pytest.approx(wanted, abs=1e-6)
    keys, values = reward.tables[1]
    assert values[keys == 2] < 0 < values[keys == 3]  # 2 is overused, 3 is missing


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


def test_contrast_is_likelihood_of_the_chosen_less_the_ratio_of_the_rejected(policy):
    old = token_logprobs(policy.decoder, EXAMPLES[:1])[0]
    rejected = Example(
        EXAMPLES[0].prompt, EXAMPLES[0].completion, [-0.5 / math.exp(x) for x in old]
    )
    batch = pack([rejected, EXAMPLES[1]])
    _, logits = whole_logits(policy, batch)
    logprob = logits.log_softmax(1).gather(1, batch.targets[:, None])[:, 0]
    ratio = (logprob[:3] - torch.tensor(old).double()).exp()
    wanted = 0.1 * (0.5 * ratio.sum() - 0.5 * logprob[3:].sum())
    torch.testing.assert_close(
        contrast(policy.decoder, batch, 0.1).double(), wanted, rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(ratio, torch.ones(3, dtype=torch.float64), rtol=1e-4, atol=1e-4)


def test_repeats_of_a_rejected_text_weigh_more():
    tokens, logprobs = [1, 2, 3, 4, 9, 1, 2, 3, 4, 2, 3, 4], [math.log(0.5)] * 12
    assert rejection(tokens, logprobs, 0.5, 0.0) == pytest.approx([-1] * 12)
    assert rejection(tokens, logprobs, 0.5, 3.0) == pytest.approx([-1] * 5 + [-4] * 4 + [-1] * 3)
    assert rejection(tokens[:3], logprobs[:3], 1.0, 3.0) == pytest.approx([-2] * 3)


@pytest.mark.parametrize("policy_repeats, excess", [(0.5, 0.75), (0.125, 0.0), (0.0, 0.0)])
def test_excess_repetition_ends_at_the_human_share(policy_repeats, excess):
    human = samples(
        [[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 1, 2, 3, 4]]
    )  # one of eight 4-grams repeats one of its text
    context, rollouts = (
        SimpleNamespace(human=human),
        SimpleNamespace(collapse={"repetition": policy_repeats}),
    )
    assert excess_repetition(context, rollouts, 1) == pytest.approx(excess)


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


def test_leave_one_out():
    found = leave_one_out(torch.tensor([1.0, 2.0, 6.0, 5.0]), torch.tensor([3, 3, 3, 9]))
    torch.testing.assert_close(found, torch.tensor([-3.0, -1.5, 4.5, 0.0]))
