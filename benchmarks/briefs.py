"""Extractive briefs beside those that a corpus has: what SmolLM2-135M makes of either after SFT.

    python benchmarks/briefs.py TRAIN.jsonl VALID.jsonl [--train N] [--valid M] [--max-words W]

trains a LoRA on the same texts with the corpus's own briefs, with briefs of `prepare` that keep the
title, and with briefs of `prepare` that have none to keep. It prints nats a token of the validation
texts under each, their paired differences with standard errors over the texts, and the share of the
outlines' words that answers to the validation briefs use. Rows are those with an outline in both.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from pathlib import Path

import torch

from dftfast.config import Config
from dftfast.data.document import Document, parse_row
from dftfast.evaluation.brief_checks import per_text
from dftfast.optimise.fit import FitSettings, fit
from dftfast.optimise.likelihood import token_logprobs
from dftfast.pipeline import Run
from dftfast.prepare.extractive import extractive_brief, outline_is_empty
from dftfast.prepare.languages import language_of
from dftfast.prepare.piece import Piece
from dftfast.rollout import Request, RolloutEngine, Sampler


def own(row: dict) -> dict:
    return row


def with_title(row: dict) -> dict:
    return rebuilt(row, row["title"])


def without_title(row: dict) -> dict:
    return rebuilt(row, "")


def rebuilt(row: dict, title: str) -> dict:
    piece = _piece(row, title)
    return {"id": row["id"], "text": row["text"], **extractive_brief(piece, row["text"])}


def _piece(row: dict, title: str) -> Piece:
    return Piece(0, "", row["id"], row["text"], title, language=language_of(row["text"]))


def rows_of(path: Path, number: int, max_words: int) -> list[dict]:
    rows = [json.loads(line) for line in open(path, encoding="utf-8")]
    outlined = lambda row: all(
        not outline_is_empty(_piece(row, title).id) for title in ("", row["title"])
    )
    fits = [r for r in rows if r["words"] <= max_words and r["outline"] and outlined(r)]
    return fits[:: max(1, len(fits) // number)][:number]


def measured(run: Run, train: list[Document], valid: list[Document], options) -> tuple:
    """Mean nats a token of each validation text, and the coverage of each answer's outline."""
    policy = run.policy(run.model_folder)
    parameters = policy.begin_phase(16, 32, 0)
    settings = FitSettings(options.rate, batch_tokens=2048, micro_tokens=2048)
    fit(policy.decoder, parameters, run.examples(train), settings, 0, lambda record: None)
    logprobs = token_logprobs(policy.decoder, run.examples(valid), 2048)
    policy.end_phase()
    sampler = Sampler(max_tokens=2 * options.max_words)
    asked = valid[: options.answers]
    requests = [
        Request(i, example.prompt, sampler) for i, example in enumerate(run.examples(asked))
    ]
    engine = RolloutEngine(policy.decoder, run.tokenizer, agreement_samples=0)
    batch = engine.generate(requests)
    texts = [run.tokenizer.decode(batch.output(i)) for i in range(len(batch))]
    nats = [-sum(each) / len(each) for each in logprobs]
    return nats, per_text(texts, asked)["outline_coverage"].tolist()


def said(values: list[float]) -> str:
    values = [value for value in values if not math.isnan(value)]
    error = statistics.stdev(values) / math.sqrt(len(values))
    return f"{statistics.fmean(values):.3f} ± {error:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("train_file", type=Path)
    parser.add_argument("valid_file", type=Path)
    for name, default in (("train", 2000), ("valid", 400), ("answers", 200), ("max-words", 220)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--rate", type=float, default=3e-3)
    options = parser.parse_args()
    torch.manual_seed(0)
    run = Run(Config())
    sources = (options.train_file, options.train), (options.valid_file, options.valid)
    train, valid = (rows_of(path, number, options.max_words) for path, number in sources)
    print(f"{len(train)} texts to train on, {len(valid)} of validation", flush=True)
    first = None
    for brief in (own, with_title, without_title):
        parts = ([parse_row(brief(row)) for row in rows] for rows in (train, valid))
        nats, coverage = measured(run, *parts, options)
        first = first or nats
        less = said([a - b for a, b in zip(nats, first)]) if nats is not first else "-"
        print(f"{brief.__name__:14} nats a token {said(nats)}, more than the first {less}")
        print(f"{'':14} outline coverage {said(coverage)}", flush=True)


if __name__ == "__main__":
    main()
