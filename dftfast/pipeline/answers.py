"""Texts for prompts outside a run: by a model on this machine, and one of several a prompt."""

from __future__ import annotations

import dataclasses
import logging
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from dftfast.data import Document, load_corpus, prompt_messages
from dftfast.data.generations import generation
from dftfast.distribution.population import make_terms, select_population
from dftfast.distribution.samples import Samples
from dftfast.model.adapter import Adapter
from dftfast.model.config import ModelConfig
from dftfast.model.device import pick_device, pick_dtype
from dftfast.model.embedder import Embedder
from dftfast.model.policy import Policy
from dftfast.model.pretrained import resolve_model
from dftfast.model.tokenizer import Tokenizer
from dftfast.model.weights import check_model
from dftfast.rollout import Request, RolloutEngine, Sampler

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class LocalModel:
    """A model on this machine: a folder or hub id, LoRAs in their order, device and type."""

    name: str | None = None
    adapters: Sequence[str | Path] = ()
    device: str | None = None
    dtype: str | None = None


def write_texts(
    documents: Sequence[Document], model: LocalModel, sampler: Sampler, seed: int, n: int
) -> list[dict]:
    """Rows of generations for the documents, by a model on this machine."""
    device = pick_device(model.device)
    adapters = [Adapter.load(folder) for folder in model.adapters]
    folder = resolve_model(model.name)
    check_model(folder)
    tokenizer = Tokenizer.from_folder(folder)
    tokenizer.check_fits(ModelConfig.from_folder(folder).vocab_size)
    prompts = [tokenizer.chat(prompt_messages(document)) for document in documents]
    policy = Policy(folder, pick_dtype(model.dtype, device), device)
    for adapter in adapters:
        adapter.check(policy.decoder)
        policy.adapters.append(adapter)
    if adapters:
        policy.merge_weights()
    requests = [Request(i, prompt, sampler, seed, n) for i, prompt in enumerate(prompts)]
    with tqdm(total=len(requests) * n, unit="text", dynamic_ncols=True) as bar:

        def show(done: int, _: int) -> None:
            bar.update(done - bar.n)

        engine = RolloutEngine(policy.decoder, tokenizer, agreement_samples=0)
        batch = engine.generate(requests, show)
    settings = sampler.settings | {"seed": seed}
    name = " + ".join([model.name or folder.name, *map(str, model.adapters)])
    return [
        generation(
            documents[int(batch.request[i])],
            tokenizer.decode(batch.output(i)).strip(),
            batch.output(i),
            batch.finish_reason[i],
            settings,
            name,
        )
        | ({"sample": int(batch.sample[i])} if n > 1 else {})
        for i in range(len(batch))
    ]


def select(rows: list[dict], options: Namespace) -> list[dict]:
    """One row for each prompt, by population selection against the texts of a corpus.

    All discrepancies count alike. Texts that were cut off or are empty are not chosen, unless a
    prompt has no other.
    """
    tokenizer = Tokenizer.from_folder(resolve_model(options.model))
    embedder, end = Embedder(options.embedder), tokenizer.eos_ids[0]

    def samples(texts: list[str]) -> Samples:
        tokens = [[*ids, end] for ids in tokenizer.encode_batch(texts)]
        return Samples.of(embedder.encode(texts), tokens, texts)

    usable = [row for row in rows if row["finish_reason"] == "stop" and row["text"]]
    kept = {row["id"]: row for row in reversed(rows)}  # the first of each prompt
    if usable:
        human = samples([document.text for document in load_corpus([options.select])])
        candidates = samples([row["text"] for row in usable])
        prompts = {identifier: number for number, identifier in enumerate(kept)}
        terms = make_terms(candidates, human, tokenizer.vocab_size)
        chosen, history = select_population(
            [prompts[row["id"]] for row in usable], terms, options.seed
        )
        kept |= {usable[i]["id"]: usable[i] for i in chosen}
        log.info(
            "chosen by what they are like together: J %.3f at random, %.3f chosen",
            history[0]["J"],
            history[-1]["J"],
        )
    order = dict.fromkeys(row["id"] for row in rows)
    return [{name: value for name, value in kept[i].items() if name != "sample"} for i in order]
