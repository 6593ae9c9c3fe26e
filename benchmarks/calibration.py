"""How often the evaluation is wrong about human texts: sets of one corpus against one another.

    python benchmarks/calibration.py CORPUS.jsonl [--sizes 60 200 600 60:600] [--trials 200]

Each trial draws two sets of "outputs" and one of human texts from the corpus, without a text in
two of them, and evaluates both; n:m are independent samples of n against m, n alone is n against n,
as answers to the same prompts. Of all trials: the share of figures inside the human level, how
often the two tests of the headline tell human texts from human ones, and how often one human set is
called better or worse than the other. The right shares are 95%, at most 5% and at most 5%.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from tqdm import trange

from dftfast.evaluation import Reference, TextSet, compare, evaluate
from dftfast.evaluation.slop.overused import compared_phrases, phrases_of
from dftfast.evaluation.told import told
from dftfast.evaluation.word_tokens import WordTokens
from dftfast.model.embedder import Embedder


class Corpus:
    """Texts with everything that an evaluation needs of them."""

    def __init__(self, path: str, limit: int):
        rows = [json.loads(line) for line in Path(path).open(encoding="utf-8")][:limit]
        self.texts = [row["text"] for row in rows]
        words = WordTokens()
        self.tokens = [words.encode(text) for text in self.texts]
        self.phrases = [phrases_of(text) for text in self.texts]
        kept = Path(path).with_suffix(f".{limit}.npz")
        if not kept.exists():
            names = (None, "character-ngrams")
            np.savez(kept, *(Embedder(name).encode(self.texts).numpy() for name in names))
        with np.load(kept) as file:
            self.vectors = [file["arr_0"], file["arr_1"]]

    def set(self, index: np.ndarray, prefix: str) -> TextSet:
        return TextSet(
            ids=[f"{prefix}{k}" for k in range(len(index))],
            prompts=[""] * len(index),
            texts=[self.texts[i] for i in index],
            token_ids=[self.tokens[i] for i in index],
            embeddings=self.vectors[0][index],
            unseen_embeddings=self.vectors[1][index],
        )


def trials(corpus: Corpus, size: str, count: int, rounds: int) -> None:
    n, m = (int(part) for part in (size.split(":") if ":" in size else (size, size)))
    inside, verdicts, tested = defaultdict(list), defaultdict(Counter), Counter()
    for seed in trange(count, desc=size, leave=False):
        order = np.random.default_rng(seed).permutation(len(corpus.texts))
        parts = np.split(order[: 2 * n + m], [n, 2 * n])
        reference = Reference(corpus.set(parts[2], "p"), rounds=rounds, seed=seed)
        prefix = "q" if ":" in size else "p"
        both = [evaluate(corpus.set(part, prefix), reference) for part in parts[:2]]
        for figures, part in zip(both, parts):
            phrases = compared_phrases(
                *([corpus.phrases[i] for i in side] for side in (part, parts[2])),
                ":" not in size,
            )
            answer = told(figures, min((row.p for row in phrases), default=1.0))
            tested["told"] += answer.told
            tested["by a figure"] += min(answer.figures.values()) < 0.05
            tested["by phrases"] += answer.phrases < 0.05
            for metric, f in figures.items():
                if f.test is not None:
                    inside[metric].append(f.within_human)
        for metric in both[0]:
            if (c := compare(metric, both[0][metric], both[1][metric])) is not None:
                verdicts[metric][c.verdict] += 1
    shares = ", ".join(f"{what} {100 * hits / (2 * count):.1f}%" for what, hits in tested.items())
    print(f"\n## {size}: {count} trials, {rounds} rounds; {shares}\n")
    print("| figure | inside the human level | better or worse |\n|---|---|---|")
    for metric in inside | verdicts:
        seen = verdicts.get(metric)
        wrong = f"{100 * (1 - seen['level'] / seen.total()):.1f}%" if seen else ""
        known = f"{100 * np.mean(inside[metric]):.1f}%" if metric in inside else ""
        print(f"| {metric} | {known} | {wrong} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus")
    parser.add_argument("--sizes", nargs="+", default=["60", "200", "600", "60:600"])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--limit", type=int, default=4656)
    options = parser.parse_args()
    texts = Corpus(options.corpus, options.limit)
    for each in options.sizes:
        trials(texts, each, options.trials, options.rounds)
