from __future__ import annotations

from collections import Counter

import pytest
import torch

from dftfast.kernels.triton import ngram as op


def ngrams(sequences, n, vocab, banned):
    for sequence in sequences:
        for i in range(len(sequence) - n + 1):
            gram = sequence[i : i + n]
            if not set(gram) & banned:
                key = 0
                for token in gram:
                    key = key * vocab + token
                yield key


def ragged(sequences, device):
    tokens = torch.tensor([t for s in sequences for t in s], dtype=torch.int64, device=device)
    lengths = torch.tensor([0] + [len(s) for s in sequences], device=device)
    return tokens, lengths.cumsum(0)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("banned", [set(), {2, 5}])
def test_counts(device, n, banned):
    generator = torch.Generator().manual_seed(n)
    sequences = [
        torch.randint(0, 7, (length,), generator=generator).tolist()
        for length in (0, 1, 2, 40, 0, 3, 60, 0)
    ]
    tokens, offsets = ragged(sequences, device)
    exclude = torch.tensor(sorted(banned), device=device) if banned else None
    keys, counts = op.ngram_counts_forward(tokens, offsets, n, 7, exclude)
    expected = sorted(Counter(ngrams(sequences, n, 7, banned)).items())
    assert list(zip(keys.tolist(), counts.tolist())) == expected


def test_nothing_to_count(device):
    tokens, offsets = ragged([[], []], device)
    keys, counts = op.ngram_counts_forward(tokens, offsets, 2, 7, None)
    assert keys.numel() == counts.numel() == 0
    keys, _ = op.ngram_counts_forward(*ragged([[1], [2]], device), 2, 7, None)
    assert keys.numel() == 0


def test_lookup(device):
    tokens, offsets = ragged([[1, 2, 1], [], [2], [2, 1, 2]], device)
    keys = torch.tensor([1 * 7 + 2, 3 * 7 + 0], device=device)
    values = torch.tensor([0.5, 9.0], device=device)
    values_at = op.ngram_lookup_forward(tokens, offsets, 2, 7, keys, values, -1.0)
    assert values_at.tolist() == [-1.0, 0.5, -1.0, -1.0, -1.0, -1.0, 0.5]


def test_keys_wider_than_64_bits_are_pairs(device):
    vocab, gram = 100_000, [99_999, 1, 50_000, 99_998]
    tokens, offsets = ragged([[*gram, 7], gram, [0, 0, 0, 0]], device)
    keys, counts = op.ngram_counts_forward(tokens, offsets, 4, vocab, None)
    pair = [gram[0] * vocab + gram[1], gram[2] * vocab + gram[3]]
    assert keys.tolist() == [
        [0, 0],
        [vocab + 50_000, 99_998 * vocab + 7],
        pair,
    ] and counts.tolist() == [1, 1, 2]
    values = torch.tensor([1.0, 2.0, 3.0], device=device)
    values_at = op.ngram_lookup_forward(tokens, offsets, 4, vocab, keys, values, -1.0)
    assert values_at.tolist() == [-1, -1, -1, 3, 2, -1, -1, -1, 3, -1, -1, -1, 1]


def test_distances(device):
    p = torch.tensor([1, 4, 9], device=device), torch.tensor([2, 1, 1], device=device)
    q = torch.tensor([4, 10], device=device), torch.tensor([3, 1], device=device)
    l2, jsd = op.ngram_distances_forward(*p, *q).tolist()
    assert l2 == pytest.approx((0.5**2 + 0.5**2 + 0.25**2 + 0.25**2) ** 0.5)
    entropy = torch.distributions.Categorical(
        probs=torch.tensor([0.25, 0.5, 0.125, 0.125]).double()
    ).entropy()
    halves = [
        torch.distributions.Categorical(probs=torch.tensor(f).double()).entropy()
        for f in ([0.5, 0.25, 0.25], [0.75, 0.25])
    ]
    assert jsd == pytest.approx(
        ((entropy - sum(halves) / 2) / torch.tensor(2.0).log()).item(), rel=1e-6
    )
    assert op.ngram_distances_forward(*p, *p).tolist() == pytest.approx([0.0, 0.0])


def test_bad_input_is_refused(device):
    tokens, offsets = ragged([[1, 9, 1]], device)
    with pytest.raises(ValueError, match=r"tokens\[1\] is 9"):
        op.ngram_counts_forward(tokens, offsets, 1, 7, None)
    with pytest.raises(ValueError, match="offsets"):
        op.ngram_counts_forward(tokens, offsets[:1], 1, 10, None)
