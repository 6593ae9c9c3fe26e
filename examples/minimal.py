"""The whole algorithm: sample, credit the samples, follow the credits by their gradients, measure.

python examples/minimal.py [TEXTS] [PROMPTS] [CANDIDATES]    # about three minutes on two cores
"""

from __future__ import annotations

import sys

import numpy as np
import torch

from dftfast.data import docstring_corpus, load_corpus, prompt_messages
from dftfast.dft.gradients import TextGradients, adapter_of, sides, token_gradients
from dftfast.distribution import MMD, Samples
from dftfast.distribution.weighted import Witnesses
from dftfast.model.embedder import Embedder
from dftfast.model.policy import Policy
from dftfast.model.pretrained import resolve_model
from dftfast.model.tokenizer import Tokenizer
from dftfast.optimise.fit import FitSettings, fit
from dftfast.optimise.packing import Example
from dftfast.rollout import Request, RolloutEngine, Sampler

NATS = 0.5  # how far the log-probabilities of texts shall move: their standard deviation


def main(
    texts: int = 300,
    prompts: int = 80,
    n: int = 4,
    model: str | None = None,
    embedder: str | None = None,
) -> list[float]:
    folder, embed = resolve_model(model), Embedder(embedder).encode
    policy, tokenizer = Policy(folder, torch.float32), Tokenizer.from_folder(folder)
    engine, end = RolloutEngine(policy.decoder, tokenizer), tokenizer.eos_ids[0]
    corpus = load_corpus([docstring_corpus()], limit=texts + prompts, max_words=50)
    train = [
        Example(tokenizer.chat(prompt_messages(d)), [*tokenizer.encode(d.text), end])
        for d in corpus
    ]
    human = Samples.of(
        embed([d.text for d in corpus]), [e.completion for e in train], [d.text for d in corpus]
    )
    asked = [example.prompt for example in train[:prompts]]

    def sample(n: int, seed: int) -> tuple[list[int], Samples]:
        """n texts for each prompt, and the prompt of each; what is empty is left out."""
        requests = [Request(i, p, Sampler(max_tokens=80), seed, n) for i, p in enumerate(asked)]
        batch = engine.generate(requests)
        written = [tokenizer.decode(batch.output(i)) for i in range(len(batch))]
        kept = [i for i, text in enumerate(written) if text.strip()]
        tokens, found = [batch.output(i) for i in kept], [written[i] for i in kept]
        return [int(batch.request[i]) for i in kept], Samples.of(embed(found), tokens, found)

    parameters = policy.begin_phase(rank=16, alpha=16.0, seed=0)  # supervised fine-tuning
    settings = FitSettings(1e-3, epochs=2, batch_tokens=2048, micro_tokens=2048)
    fit(policy.decoder, parameters, train[prompts:], settings, 0, lambda step: None)
    policy.end_phase()
    mmd = MMD()
    mmd.fit(human.select(range(prompts, len(human))))  # texts of other prompts than those asked
    distances = [mmd.value(sample(2, seed=1)[1])]
    prompt, candidates = sample(n, seed=2)
    own = [human.tokens_of(p) for p in range(prompts)]
    credit = Witnesses(candidates, human, prompt, own, seed=0).reward(np.ones(len(prompt)))
    answers = [Example(asked[p], candidates.tokens_of(i)) for i, p in enumerate(prompt)]
    # what the gradients of other prompts' texts foresee of a credit, a policy can follow
    both = sides(policy.decoder, len(answers))
    read = token_gradients(policy.decoder, answers, 2048, both)
    gradients = TextGradients(read, np.asarray(prompt), seed=0)
    foreseen, fitted = gradients.foreseen(credit[:, None]), gradients.coefficients(credit[:, None])
    change = gradients.direction(fitted[:, 0] * NATS / foreseen.std())
    policy.add(adapter_of(policy.decoder, change, both, rank=32)[0])
    distances += [mmd.value(sample(2, seed=1)[1])]
    print("MMD² to human texts: {:.4f} fine-tuned, {:.4f} after one phase".format(*distances))
    return distances


if __name__ == "__main__":
    main(**dict(zip(("texts", "prompts", "n"), map(int, sys.argv[1:4]))))
