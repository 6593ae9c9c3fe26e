"""Sampling alone: several texts for each prompt, with the log-probability of every token.

python examples/rollout_only.py [MODEL]
"""

from __future__ import annotations

import sys

from dftfast.model.policy import Policy
from dftfast.model.pretrained import resolve_model
from dftfast.model.tokenizer import Tokenizer
from dftfast.rollout import Request, RolloutEngine, Sampler

PROMPTS = ["Write a haiku about rain.", "Name three rivers."]


def main(model: str | None = None, samples: int = 2, max_tokens: int = 40) -> list[str]:
    folder = resolve_model(model)
    policy, tokenizer = Policy(folder), Tokenizer.from_folder(folder)
    engine = RolloutEngine(policy.decoder, tokenizer)
    chats = [tokenizer.chat([{"role": "user", "content": prompt}]) for prompt in PROMPTS]
    sampler = Sampler(temperature=0.8, max_tokens=max_tokens)
    batch = engine.generate([Request(i, chat, sampler, n=samples) for i, chat in enumerate(chats)])
    for i, logprobs in enumerate(batch.logprobs.split(batch.offsets.diff().tolist())):
        print(f"{float(logprobs.sum()):.1f} nats: {tokenizer.decode(batch.output(i))!r}")
    return [tokenizer.decode(batch.output(i)) for i in range(len(batch))]


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
