from __future__ import annotations

import pytest
import torch
from tolerance import assert_own_memory

from dftfast.kernels.triton import sample_tokens as op


def philox(key, counter):
    """Philox4x32-10 (Salmon et al. 2011) in Python integers; first word."""
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    c0, c1, c2, c3 = counter
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (
            (p1 >> 32) ^ c1 ^ k0,
            p1 & 0xFFFFFFFF,
            (p0 >> 32) ^ c3 ^ k1,
            p0 & 0xFFFFFFFF,
        )
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0


def uniform(seed, request, position):
    word = philox(
        seed, (position & 0xFFFFFFFF, position >> 32, request & 0xFFFFFFFF, request >> 32)
    )
    return ((word >> 9) + 0.5) / 2**23


def truncated(logits, temperature, top_k, top_p, min_p):
    """Which tokens stay, in fp64, by sorting."""
    z = logits.double() / temperature
    keep = torch.ones_like(z, dtype=torch.bool)
    if 0 < top_k < len(z):
        keep &= z >= z.sort(descending=True).values[top_k - 1]
    if top_p < 1:
        p = z.masked_fill(~keep, float("-inf")).softmax(-1)
        ordered = p.sort(descending=True).values
        before = ordered.cumsum(0) - ordered
        keep &= p >= ordered[before < top_p].min()
    if min_p > 0:
        keep &= z >= z.max() + torch.tensor(min_p).double().log()
    return z, keep


def sample(logits, device, **parameters):
    B = len(logits)
    defaults = dict(
        temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, seed=0, request_id=0, position=0
    )
    types = dict(top_k=torch.int32, seed=torch.int64, request_id=torch.int64, position=torch.int64)
    arguments = [
        torch.as_tensor(parameters.get(name, default))
        .to(types.get(name, torch.float32))
        .expand(B)
        .contiguous()
        .to(device)
        for name, default in defaults.items()
    ]
    outputs = op.sample_tokens_forward(logits.to(device), *arguments)
    assert_own_memory(outputs)
    return [t.cpu() for t in outputs]


@pytest.fixture(autouse=True)
def small_shares(monkeypatch):
    """Rows of several shares, the last one not full."""
    monkeypatch.setattr(op, "TILE", dict(BLOCK=256, num_warps=2))


SETTINGS = [
    (1.0, 0, 1.0, 0.0),
    (0.7, 0, 0.9, 0.0),
    (1.5, 50, 1.0, 0.0),
    (1.0, 30, 0.8, 0.0),
    (1.0, 0, 1.0, 0.05),
    (0.6, 5, 0.5, 0.2),
    (1.0, 1, 1.0, 0.0),
    (2.0, 0, 0.01, 0.0),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("V", [1, 7, 1024, 1500])
def test_against_sorting(device, dtype, V):
    B = len(SETTINGS)
    logits = (3 * torch.randn(B, V)).to(dtype)
    columns = [torch.tensor(c) for c in zip(*SETTINGS)]
    seeds, requests, positions = (
        torch.arange(B) * 10**12 + 3,
        torch.arange(B) * 2**33 + 1,
        torch.arange(B) * 5,
    )
    token, logprob, sampler_logprob, entropy = sample(
        logits,
        device,
        temperature=columns[0],
        top_k=columns[1],
        top_p=columns[2],
        min_p=columns[3],
        seed=seeds,
        request_id=requests,
        position=positions,
    )
    model = logits.double().log_softmax(-1)
    torch.testing.assert_close(
        entropy.double(), -(model.exp() * model).sum(-1), atol=2e-6, rtol=2e-5
    )
    torch.testing.assert_close(
        logprob.double(), model.gather(1, token[:, None])[:, 0], atol=2e-5, rtol=2e-5
    )
    for i in range(B):
        z, keep = truncated(logits[i], *SETTINGS[i])
        kept = z.masked_fill(~keep, float("-inf")).log_softmax(-1)
        assert keep[token[i]]
        assert sampler_logprob[i].item() == pytest.approx(kept[token[i]].item(), abs=3e-5)
        cumulative = kept.exp().cumsum(0)
        u = uniform(int(seeds[i]), int(requests[i]), int(positions[i]))
        assert (
            cumulative[token[i]] >= u - 1e-5
            and cumulative[token[i]] - kept[token[i]].exp() <= u + 1e-5
        )


def test_the_stream_is_philox(device):
    assert philox(0, (0, 0, 0, 0)) == 0x6627E8D5  # known answers of the Random123 library
    assert philox(2**64 - 1, (2**32 - 1,) * 4) == 0x408F276D
    V = 4096
    request, position = torch.arange(50), torch.arange(50) * 7
    token = sample(torch.zeros(50, V), device, seed=99, request_id=request, position=position)[0]
    for i in range(50):
        assert abs(token[i].item() - uniform(99, int(request[i]), int(position[i])) * V) <= 1


def test_greedy(device):
    logits = torch.randn(3, 900)
    logits[1, [5, 40, 700]] = 9.0  # a tie goes to the first
    logits[2] = float("-inf")
    logits[2, 899] = 1.0
    token, logprob, sampler_logprob, _ = sample(logits, device, temperature=0.0)
    assert token.tolist() == [logits[0].argmax().item(), 5, 899]
    assert not sampler_logprob.any() and logprob[2] == 0


def test_banned_tokens_are_never_drawn(device):
    logits = torch.full((12, 1100), float("-inf"))
    logits[:, [3, 1050]] = 0.0
    token, logprob, sampler_logprob, entropy = sample(
        logits,
        device,
        top_k=torch.arange(12) % 4 * 500,
        top_p=torch.tensor([1.0, 0.9]).repeat(6),
        request_id=torch.arange(12),
    )
    assert set(token.tolist()) == {3, 1050}
    for value in (logprob, sampler_logprob, -entropy):
        torch.testing.assert_close(value, torch.full((12,), -torch.tensor(2.0).log().item()))


@pytest.mark.parametrize("temperature", [3.4e36, float("inf")])
@pytest.mark.parametrize("cut", [{}, {"top_k": 5}, {"top_p": 0.9}, {"min_p": 1e-5}, {"min_p": 1.0}])
def test_no_temperature_draws_a_banned_token(device, temperature, cut):
    logits = torch.full((8, 700), float("-inf"))
    logits[:, [7, 500, 650]] = torch.tensor([3.0, -2e38, 3e38])
    token, _, sampler_logprob, _ = sample(
        logits, device, temperature=temperature, request_id=torch.arange(8), **cut
    )
    assert set(token.tolist()) <= {7, 500, 650} and sampler_logprob.isfinite().all()
    if temperature == float("inf"):
        assert set(token.tolist()) == {7, 500, 650} or "top_p" in cut
        assert sampler_logprob.unique().numel() == 1


@pytest.mark.parametrize("cut", [{}, {"top_k": 40, "top_p": 0.9}])
def test_a_row_does_not_depend_on_its_batch(device, cut):
    logits = torch.randn(5, 600)
    together = sample(logits, device, request_id=torch.arange(5), **cut)
    alone = sample(logits[3:4], device, request_id=torch.tensor([3]), **cut)
    for one, all_ in zip(alone, together):
        assert torch.equal(one[0], all_[3])


@pytest.mark.parametrize("cut", [{}, {"temperature": 0.7, "top_k": 40, "top_p": 0.9}])
def test_the_size_of_a_share_moves_no_draw(device, monkeypatch, cut):
    logits = torch.randn(12, 1000)
    many = sample(logits, device, request_id=torch.arange(12), **cut)
    monkeypatch.setattr(op, "TILE", dict(BLOCK=1024, num_warps=2))
    one = sample(logits, device, request_id=torch.arange(12), **cut)
    assert torch.equal(one[0], many[0])
    torch.testing.assert_close(one[1:], many[1:])


def test_ties_at_the_threshold_all_stay(device):
    logits = torch.zeros(24, 12)
    tokens = sample(logits, device, top_k=2, top_p=0.1, request_id=torch.arange(24))[0]
    assert len(set(tokens.tolist())) > 6


def test_no_rows(device):
    assert [t.shape for t in sample(torch.empty(0, 9), device)] == [(0,)] * 4


def test_rows_without_a_distribution(device):
    logits = torch.randn(6, 1100)
    logits[0, 30], logits[1, 1099], logits[2], logits[3, 600] = (
        torch.nan,
        torch.nan,
        float("-inf"),
        float("inf"),
    )
    for cut in (
        {},
        {"temperature": 0.0},
        {"top_k": 5},
        {"top_p": 0.5},
        {"top_p": 0.0},
        {"min_p": 0.1},
    ):
        token, *figures = sample(logits, device, **cut)
        assert not token[:4].any()
        assert all(f[:4].isnan().all() and f[4:].isfinite().all() for f in figures)
        if cut == {"top_p": 0.0}:
            assert torch.equal(token[4:], logits[4:].argmax(1))
