"""What target files take and give away, and what a private one loses.

python benchmarks/targets.py CORPUS.jsonl [--embedder NAME]

Prints, for a plain target and for private ones of several thresholds: bytes, seconds to load, the
share of runs of 8 tokens that follow from their first two (for a plain one also to who knows the
tokens of the text); of private ones also how far witnesses
(the correlation within prompts) and MMD² are from those of the texts. Candidates are texts of the
corpus with one word in five left out, four for each of 200 prompts.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

import numpy as np

from dftfast.data import load_corpus
from dftfast.distribution.private_target import PrivateTarget
from dftfast.distribution.recovery import recovered_runs
from dftfast.distribution.samples import Samples
from dftfast.distribution.target_file import load_target, save_target
from dftfast.distribution.targets import Target
from dftfast.distribution.weighted import Witnesses, centred
from dftfast.model.embedder import Embedder
from dftfast.model.pretrained import resolve_model
from dftfast.model.tokenizer import Tokenizer
from dftfast.target import Reader

PROMPTS, EACH = 200, 4
LEAST = (2, 5, 10, 50)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus")
    parser.add_argument("--embedder")
    options = parser.parse_args()
    reader = Reader(Tokenizer.from_folder(resolve_model(None)), Embedder(options.embedder))
    texts = [document.text for document in load_corpus([options.corpus])]
    samples = reader.samples(texts)
    print(f"{len(texts):,} texts, {len(samples.tokens):,} tokens, embedder {options.embedder}")
    print("| target | MB | load, s | runs given away | witness r, mmd lexical style ngram | MMD² |")
    print("|---|---|---|---|---|---|")
    candidates, prompt = spoilt(reader, texts)
    exact = views(samples, candidates, prompt)
    report("plain", Target.of(samples), samples, "| | |")
    for least in LEAST:
        private = PrivateTarget.of(samples, least)
        rewards, mmd2 = views(private, candidates, prompt)
        r = [np.corrcoef(rewards[name], exact[0][name])[0, 1] for name in rewards]
        loss = f"| {' '.join(f'{each:.3f}' for each in r)} | {mmd2:.5f}, exact {exact[1]:.5f} |"
        report(f"private {least}", private, samples, loss)


def spoilt(reader: Reader, texts: list[str]) -> tuple[Samples, np.ndarray]:
    rng = random.Random(0)
    chosen = rng.sample(texts, PROMPTS * EACH)
    written = [
        " ".join(word for word in text.split(" ") if rng.random() > 0.2) or "x" for text in chosen
    ]
    return reader.samples(written), np.repeat(np.arange(PROMPTS), EACH)


def views(human, candidates: Samples, prompt: np.ndarray) -> tuple[dict[str, np.ndarray], float]:
    """Each view's witness, centred within prompts, and MMD²."""
    alike = np.ones(len(prompt))
    found = Witnesses(candidates, human, prompt.tolist(), [[]] * PROMPTS, 0)
    witness = lambda view: centred(view.witness(alike), prompt, alike)
    return {n: witness(view) for n, view in found.views.items()}, found.values(alike)["mmd"]


def report(name: str, target: Target | PrivateTarget, samples: Samples, rest: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.target"
        save_target(path, target, {"texts": len(samples)})
        began = time.monotonic()
        load_target(path)
        seconds = time.monotonic() - began
        plain = isinstance(target, Target)
        given = [recovered_runs(samples, target.ngrams[3], known) for known in (False, plain)]
        megabytes, runs = path.stat().st_size / 1e6, " / ".join(f"{each:.1%}" for each in given)
        print(f"| {name} | {megabytes:.1f} | {seconds:.2f} | {runs} {rest}")


if __name__ == "__main__":
    main()
