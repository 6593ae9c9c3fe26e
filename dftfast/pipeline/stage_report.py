"""Measure every set of generations against the human texts: results.json and report.html."""

from __future__ import annotations

import logging

import numpy as np

from dftfast.data import Document, prompt_messages
from dftfast.data.generations import read_draws
from dftfast.evaluation import (
    Reference,
    ReportContext,
    TextSet,
    evaluate,
    write_report,
    write_results,
)
from dftfast.evaluation.embedding_cache import EmbeddingCache
from dftfast.evaluation.judge import judge_estimates, judge_record
from dftfast.evaluation.outcome import find
from dftfast.model.embedder import Embedder
from dftfast.optimise.distributed import on_rank0, rank
from dftfast.pipeline.judging import judged_best
from dftfast.pipeline.run import Run
from dftfast.pipeline.stage_baselines import baseline_files
from dftfast.pipeline.stage_sft import variants
from dftfast.pipeline.stage_sweep import sweep_files

log = logging.getLogger(__name__)


def report(run: Run) -> None:
    from tqdm import tqdm

    c = run.config.evaluation
    documents = run.held_out[: run.config.sweep.prompts]
    unseen = Embedder(c.unseen_embedder)
    human = text_set(run, "human", documents, [d.text for d in documents], unseen)
    files = [path for name in variants(run) for path in sweep_files(run, name)]
    outputs = {}
    for path in [*files, *baseline_files(run).values(), run.path / "generations" / "dft.jsonl"]:
        draws = [draw[: len(documents)] for draw in read_draws(path)[: c.draws]]
        outputs[path.stem] = [
            text_set(run, path.stem, documents, [r["text"] for r in rows], unseen, rows)
            for rows in draws
        ]
    if rank():
        return
    corpus, special = [document.text for document in run.split.train], run.tokenizer.special_ids
    reference = Reference(
        human, exclude=special, rounds=c.rounds, seed=run.config.run.seed, corpus=corpus
    )
    results = {
        name: evaluate(draws, reference)
        for name, draws in tqdm(outputs.items(), desc="evaluate", unit="system")
    }
    about = {
        "prompts": len(documents),
        "draws": c.draws,
        "bandwidth": reference.bandwidth,
        "embedder": run.embedder.name,
    }
    first = {"human": human, **{name: draws[0] for name, draws in outputs.items()}}
    judged = judged_best(run, results, first)
    for name in judged[0].wins if judged else ():
        if name in results:
            results[name] |= judge_estimates(judged, name, c.rounds, run.config.run.seed)
    judges = [judge_record(each, c.rounds, run.config.run.seed) for each in judged]
    token_name = lambda token: run.tokenizer.decode([token])
    findings = find(results, first, reference, token_name)
    write_results(run.path, results, candidate="dft", about=about, judges=judges, findings=findings)
    context = ReportContext(
        reference, token_name=token_name, about=about, judges=judges, findings=findings
    )
    write_report(run.path, results, first, candidate="dft", context=context)


def text_set(
    run: Run,
    name: str,
    documents: list[Document],
    texts: list[str],
    unseen: Embedder,
    rows: list[dict] | None = None,
) -> TextSet:
    """Texts for the documents' prompts as metrics take them: tokenised afresh, embedded twice."""
    return TextSet(
        ids=[document.id for document in documents],
        prompts=[prompt_messages(document)[-1]["content"] for document in documents],
        texts=texts,
        token_ids=run.tokenizer.encode_batch(texts),
        embeddings=kept_embeddings(run, run.embedder, texts),
        unseen_embeddings=kept_embeddings(run, unseen, texts),
        finish_reason=[row["finish_reason"] for row in rows] if rows else None,
        name=name,
        briefs=None if rows else documents,
    )


def kept_embeddings(run: Run, embedder: Embedder, texts: list[str]) -> np.ndarray:
    """fp32 [texts, d]; from the run folder, where they are from an earlier report."""
    cache = EmbeddingCache(run.path / "embeddings")
    kept = on_rank0(lambda: cache.load(embedder, texts))
    if kept is None:
        kept = run.embed(texts, embedder).cpu().numpy()
        on_rank0(lambda: cache.save(embedder, texts, kept))
    return kept
