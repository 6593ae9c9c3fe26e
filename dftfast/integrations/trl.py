"""The discrepancies as reward functions of TRL's GRPOTrainer.

reward = DiscrepancyReward(MMD(), human_texts, embed=SentenceTransformer("...").encode)
GRPOTrainer(model, reward_funcs=[reward], ...)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import torch

from dftfast.distribution.protocol import Discrepancy
from dftfast.distribution.samples import Samples


class DiscrepancyReward:
    """Reward of a completion: what the policy's texts gain by it in closeness to human texts.

    Called with a whole generation batch, as TRL does; the last `window` batches stand for the
    policy's distribution together with it. A discrepancy with one witness for each token gives the
    sum over the completion's tokens.

    Args:
        discrepancy: MMD(), StyleMMD(), LengthEnergy(), DensityRatio() or NGramL2(vocab), of
            `dftfast.distribution`.
        human: texts like those that the policy should write.
        embed: list of texts -> [n, d], for MMD and DensityRatio.
        tokenize: text -> token ids, for NGramL2 and LengthEnergy.
        scale: divides the reward.
    """

    def __init__(
        self,
        discrepancy: Discrepancy,
        human: Sequence[str],
        embed: Callable[[list[str]], object] | None = None,
        tokenize: Callable[[str], list[int]] | None = None,
        window: int = 8,
        scale: float = 1.0,
    ):
        self.discrepancy, self.embed, self.tokenize, self.scale = (
            discrepancy,
            embed,
            tokenize,
            scale,
        )
        self.window: deque[Samples] = deque(maxlen=window)
        self.__name__ = f"{type(discrepancy).__name__} reward"  # the name in TRL's logs
        discrepancy.fit(self._samples(list(human)))

    def __call__(self, prompts: list, completions: list, **_) -> list[float]:
        """One reward for each completion: a string, or messages whose last one holds the text."""
        texts = [c if isinstance(c, str) else c[-1]["content"] for c in completions]
        self.window.append(self._samples(texts))
        everything = Samples.concat(list(self.window))
        witness = self.discrepancy.witness(everything).float().cpu()
        if len(witness) != len(everything):  # one for each token
            text = torch.arange(len(everything)).repeat_interleave(everything.lengths)
            witness = torch.zeros(len(everything)).index_add(0, text, witness)
        return (witness[-len(texts) :] / self.scale).tolist()

    def _samples(self, texts: list[str]) -> Samples:
        points = (
            torch.zeros(len(texts), 1) if self.embed is None else torch.as_tensor(self.embed(texts))
        )
        tokens = (
            [[0]] * len(texts)
            if self.tokenize is None
            else [self.tokenize(text) or [0] for text in texts]
        )
        return Samples.of(points, tokens, texts)
