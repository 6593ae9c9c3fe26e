"""Credit token by token: what a text will turn out to be worth, foreseen at each of its tokens.

The credit of a text is one number, and most of it is chance to any one of its tokens. The value of
a beginning is the credit that the texts which go on from it have on average, and a token is
credited with the change of value that it makes, V(s′) − V(s): no noise of what follows is in it
(temporal differences: Sutton 1988; as advantages, Schulman et al. 2016, λ = 0).

A value is linear in the model's own hidden states, and fitted to candidates of *other* prompts.
So nothing of a text's own credit is in the targets of its tokens: what an adapter learns of them
holds for texts that it has not seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from dftfast.distribution.weighted import centred

FOLDS = 5
PENALTY = 1.0  # of the ridge regression, in units of the mean square of a feature
BLOCK = 256  # texts whose features exist at a time


class PrefixValues:
    """Values of all beginnings of some texts.

    Args:
        states: of each text [tokens, d], what the model sees before it writes each token.
        prompt: int [n], of each text.
        seed: of the folds, which hold whole prompts.

    Attributes:
        offsets: int [n + 1], where each text's tokens begin in an array of all tokens.
    """

    def __init__(self, states: Sequence[Tensor], prompt: np.ndarray, seed: int):
        sizes = [len(each) for each in states]
        self.states, self.prompt = states, prompt
        self.offsets = np.concatenate([[0], np.cumsum(sizes)])
        spread, mean = torch.std_mean(torch.cat(list(states)).float(), dim=0)
        self.spread, self.mean = spread.clamp_min(1e-6), mean
        order = np.random.default_rng(seed).permutation(prompt.max() + 1)
        self.fold = (order % FOLDS)[prompt]
        self.factors = self._factors()
        # last beginnings, and the factors of the regression on them alone
        self.ends = torch.cat([x[self._last(texts)] for texts, x in self._blocks()]).double()
        self.end_factors = [self._end_factor(k) for k in range(FOLDS)]

    def changes(self, credits: np.ndarray) -> np.ndarray:
        """The change of value that each token makes.

        The last token, the end, takes the text from the value of its beginnings to that of a text
        that is over, which is fitted to whole texts alone: to stop early costs what a text of that
        length is worth less.

        Args:
            credits: [n, v], v of each text.

        Returns:
            float64 [tokens, v].
        """
        values = self._values(torch.from_numpy(credits).double())
        changes = np.zeros_like(values)
        changes[:-1] = np.diff(values, axis=0)
        last = self.offsets[1:] - 1
        changes[last] = self._over(credits) - values[last]
        return changes

    def of_texts(self, changes: np.ndarray) -> np.ndarray:
        """[n, v]: what the tokens of each text add up to."""
        return np.add.reduceat(changes, self.offsets[:-1])

    def foreseen(self, changes: np.ndarray) -> np.ndarray:
        """[v]: standard deviation within prompts of what the tokens of a text add up to."""
        alike = np.ones(len(self.prompt))
        return np.array([centred(v, self.prompt, alike).std() for v in self.of_texts(changes).T])

    def _blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Some texts, and the features [tokens, f] of their beginnings.

        The last state, the mean of the states so far, that mean times the logarithm of their
        number, and their number. The means alone foresee as much and change more smoothly, yet a
        policy learns less of them: the last state says which token it was.
        """
        for start in range(0, len(self.states), BLOCK):
            texts = slice(start, min(start + BLOCK, len(self.states)))
            rows = []
            for each in self.states[texts]:
                state = (each.float() - self.mean) / self.spread
                count = torch.arange(1, len(state) + 1, device=state.device)[:, None].float()
                mean, log = state.cumsum(0) / count, count.log()
                rows.append(torch.cat([state, mean, mean * log, log, count / 64, count**0], dim=1))
            yield texts, torch.cat(rows)

    def _over(self, credits: np.ndarray) -> np.ndarray:
        """float64 [n, v]: the values of texts that are over."""
        wanted, found = torch.from_numpy(credits).to(self.ends), np.zeros_like(credits)
        for k, factor in enumerate(self.end_factors):
            rest = torch.from_numpy(self.fold != k).to(self.ends.device)
            fitted = torch.cholesky_solve(self.ends[rest].T @ wanted[rest], factor)
            found[self.fold == k] = (self.ends[~rest] @ fitted).cpu().numpy()
        return found

    def _end_factor(self, fold: int) -> Tensor:
        rest = self.ends[torch.from_numpy(self.fold != fold).to(self.ends.device)]
        gram = rest.T @ rest
        return _factor(gram, gram)

    def _last(self, texts: slice) -> Tensor:
        """The rows of the last beginnings among the texts'."""
        return torch.from_numpy(np.cumsum(np.diff(self.offsets)[texts]) - 1)

    def _each_fold(self, texts: slice) -> Iterator[tuple[int, Tensor]]:
        """The folds, and which of the tokens of the texts are in each."""
        sizes = np.diff(self.offsets)[texts]
        fold = torch.from_numpy(np.repeat(self.fold[texts], sizes)).to(self.spread.device)
        for k in range(FOLDS):
            yield k, fold == k

    def _weights(self, texts: slice) -> Tensor:
        """A text counts once, however many tokens it has."""
        sizes = np.diff(self.offsets)[texts]
        return torch.from_numpy(np.repeat(1 / sizes, sizes)).float().to(self.spread.device)

    def _factors(self) -> list[Tensor]:
        """Cholesky factors of the regression that leaves each fold out."""
        grams: list[Tensor | float] = [0.0] * FOLDS
        for texts, x in self._blocks():
            weighted = x * self._weights(texts)[:, None]
            for k, rows in self._each_fold(texts):
                grams[k] = grams[k] + (x[rows].T @ weighted[rows]).double()
        whole = torch.as_tensor(sum(grams))
        return [_factor(whole - gram, whole) for gram in grams]

    def _values(self, credits: Tensor) -> np.ndarray:
        """float64 [tokens, v], of each beginning."""
        sizes = np.diff(self.offsets)
        moments: list[Tensor | float] = [0.0] * FOLDS
        for texts, x in self._blocks():
            wanted = credits[texts].repeat_interleave(torch.from_numpy(sizes[texts]), 0).to(x)
            wanted = wanted * self._weights(texts)[:, None]
            for k, rows in self._each_fold(texts):
                moments[k] = moments[k] + (x[rows].T @ wanted[rows]).double()
        whole = torch.as_tensor(sum(moments))
        fitted = [
            torch.cholesky_solve(whole - moment, factor).float()
            for moment, factor in zip(moments, self.factors)
        ]
        values = []
        for texts, x in self._blocks():
            found = torch.zeros(len(x), credits.shape[1], device=x.device)
            for k, rows in self._each_fold(texts):
                found[rows] = x[rows] @ fitted[k]
            values.append(found.cpu())
        return torch.cat(values).double().numpy()


def _factor(gram: Tensor, unit: Tensor) -> Tensor:
    """The Cholesky factor of a Gram matrix with the penalty, which is in units of another's."""
    penalty = PENALTY * unit.diagonal().mean() * torch.eye(len(gram)).to(gram)
    return torch.linalg.cholesky(gram + penalty)
