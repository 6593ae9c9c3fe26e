"""A discrepancy of your own, here in how texts are punctuated, put into population selection.

python examples/custom_discrepancy.py
"""

from __future__ import annotations

import torch
from torch import Tensor

from dftfast.distribution.mmd import MMD
from dftfast.distribution.population import select_population
from dftfast.distribution.samples import Samples
from dftfast.distribution.terms import KernelTerm

MARKS = ".,;:!?()\"'"


class PunctuationMMD(MMD):
    """MMD² between how often texts have each mark, for a hundred characters.

    A subclass of MMD says what is compared. Any class with `fit`, `value` and `witness` is a
    discrepancy: `LinearTerm(-witness)` puts it into the choice, `DiscrepancyReward` into TRL.
    """

    def features(self, samples: Samples) -> Tensor:
        rates = [
            [100 * text.count(mark) / max(len(text), 1) for mark in MARKS] for text in samples.texts
        ]
        return torch.tensor(rates, device=samples.embeddings.device)


def as_samples(texts: list[str]) -> Samples:
    """This discrepancy needs neither embeddings nor tokens."""
    return Samples.of(torch.zeros(len(texts), 1), [[0]] * len(texts), texts)


def main() -> list[str]:
    """Of two answers to each prompt choose one, so that all are punctuated as people do."""
    human = as_samples([f"No {i}: well, it works." for i in range(60)])
    shouts = [f"Number {i} works!!! Is it not great?!" for i in range(60)]
    plain = [f"Item {i}: yes, it runs." for i in range(60)]
    candidates, prompt = as_samples(shouts + plain), [*range(60), *range(60)]
    discrepancy = PunctuationMMD()
    discrepancy.fit(human)
    terms = {"punctuation": (1.0, KernelTerm(discrepancy, candidates))}
    chosen, history = select_population(prompt, terms, seed=0)
    before, after = history[0]["punctuation"], history[-1]["punctuation"]
    print(f"MMD² of punctuation: {before:.3f} at random, {after:.3f} chosen")
    return [candidates.texts[i] for i in chosen]


if __name__ == "__main__":
    main()
