"""Which candidates a phase of population selection learns and rejects."""

from types import SimpleNamespace

import numpy as np
import torch

from dftfast.config.schema_dft import DFT, Weights
from dftfast.dft.selection import choose
from dftfast.distribution.samples import Samples

VOCAB, PROMPTS, K = 30, 12, 4


def samples(count, seed):
    rng = np.random.default_rng(seed)
    tokens = [rng.integers(0, VOCAB, size=rng.integers(2, 9)).tolist() for _ in range(count)]
    return Samples.of(
        torch.from_numpy(rng.normal(size=(count, 5))).float(), tokens, [str(t) for t in tokens]
    )


def test_what_the_length_limit_cut_is_rejected_and_never_chosen():
    prompt = np.repeat(np.arange(PROMPTS), K)
    finished = np.random.default_rng(0).random(PROMPTS * K) > 0.2
    finished[:K] = True, False, False, True
    settings = DFT(weights=Weights(classifier=0, style=0))
    decoder = SimpleNamespace(config=SimpleNamespace(vocab_size=VOCAB))
    context = SimpleNamespace(human=samples(40, 1), policy=SimpleNamespace(decoder=decoder), seed=0)
    (chosen, _), (rejected, _) = choose(
        context, settings, samples(PROMPTS * K, 2), prompt.tolist(), finished.tolist(), 1
    )
    assert finished[chosen].all() and len(rejected) == PROMPTS
    with_cut = np.isin(prompt[rejected], prompt[~finished])
    assert with_cut.any() and not with_cut.all()
    assert (finished[rejected] == ~with_cut).all()
