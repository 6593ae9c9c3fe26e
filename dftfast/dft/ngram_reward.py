"""What n-gram L2 says of every possible next token: its witness over the whole vocabulary."""

from __future__ import annotations

import torch
from torch import Tensor

from dftfast.distribution.ngram_l2 import NGramL2
from dftfast.distribution.samples import Samples
from dftfast.kernels import ngram_counts
from dftfast.optimise.packing import PackedBatch


class NGramReward:
    """`−2 (f_q(g) − f_p(g))` for the n-gram g that each token would complete, n = 1 to 3.

    f_q are the frequencies in `samples`, f_p those of the human texts of `ngram`. Each n has an
    equal say: its rewards are divided by their spread over the n-grams of the samples. Constants,
    which do not change the gradient of an expected reward, are left out.
    """

    def __init__(self, ngram: NGramL2, samples: Samples):
        self.vocab, self.tables = ngram.vocab, {}
        for n in ngram.sizes:
            keys, counts = ngram_counts(samples.tokens, samples.offsets, n, ngram.vocab)
            every = torch.cat([keys, ngram.human[n][0]]).unique()
            f_q = torch.zeros(len(every), dtype=torch.float64)
            f_q[torch.searchsorted(every, keys)] = counts.double() / counts.sum()
            reward = -2 * (f_q - ngram.human_frequency(n, every))
            spread = (f_q * (reward - f_q @ reward).square()).sum().sqrt().clamp(min=1e-12)
            self.tables[n] = every, (reward / spread / len(ngram.sizes)).float()

    def rewards(self, batch: PackedBatch, rows: slice) -> Tensor:
        """fp32 [r, V] for these of the batch's completion tokens.

        No n-gram reaches back into the prompt.
        """
        device, tokens, ends = batch.tokens.device, batch.tokens.cpu(), batch.rows.cpu()
        first = torch.cat([torch.ones(1, dtype=torch.bool), batch.documents.cpu().diff() != 0])
        place = torch.arange(len(ends))
        completed = place - torch.where(first, place, 0).cummax(0).values  # tokens so far
        written, ends = completed[rows], ends[rows]
        total = torch.zeros(len(ends), self.vocab)
        for n, (keys, values) in self.tables.items():
            prefix = torch.zeros_like(ends)
            for back in reversed(range(n - 1)):
                prefix = prefix * self.vocab + tokens[(ends - back).clamp(min=0)]
            row, token, index = following(keys, prefix, self.vocab)
            known = written[row] >= n - 1
            total[row[known], token[known]] += values[index[known]]
        return total.to(device)


def following(keys: Tensor, prefix: Tensor, vocab: int) -> tuple[Tensor, Tensor, Tensor]:
    """The n-grams that begin with each prefix, of sorted n-gram keys.

    prefix: int64 [r], the key of the first n − 1 tokens (0 for n = 1). Returns (row, last token,
    place in keys) of all that there are, int64 each, a row's after another's.
    """
    low, high = (torch.searchsorted(keys, bound * vocab) for bound in (prefix, prefix + 1))
    count = high - low
    row = torch.arange(len(prefix)).repeat_interleave(count)
    place = torch.arange(len(row)) - (count.cumsum(0) - count)[row] + low[row]
    return row, keys[place] % vocab, place
