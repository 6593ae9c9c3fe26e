"""Of several texts for each prompt the ones that are together distributed like a corpus."""

from __future__ import annotations

import logging
from argparse import Namespace

from dftfast.data import load_corpus
from dftfast.distribution.population import make_terms, select_population
from dftfast.distribution.samples import Samples
from dftfast.model.embedder import Embedder
from dftfast.model.pretrained import resolve_model
from dftfast.model.tokenizer import Tokenizer

log = logging.getLogger(__name__)


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
