"""Texts for prompts from an endpoint, as rows of generations."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from dftfast.data import Document, prompt_messages
from dftfast.data.generations import generation
from dftfast.endpoint.cache import AnswerCache, digest
from dftfast.endpoint.calls import Budget, Calls, Limits
from dftfast.endpoint.chat import ChatClient, ChatRequest
from dftfast.endpoint.spec import Endpoint

log = logging.getLogger(__name__)


def generate_texts(
    documents: Sequence[Document],
    endpoint: Endpoint,
    out: Path,
    sampler: dict,
    *,
    samples: int = 1,
    limits: Limits = Limits(),
    budget: Budget | None = None,
) -> tuple[list[dict], AnswerCache]:
    """A row for each document and sample that the endpoint answered, in order.

    With them come the answers kept beside `out` meanwhile, which the caller deletes when the rows
    are written. An endpoint that takes no seed is asked without, and the rows say so.

    Args:
        sampler: temperature, top_p, max_tokens and seed; sample k is asked for with seed + k.
    """
    cache = AnswerCache(out.with_name(f"{out.name}.partial"))
    client = ChatClient(endpoint, limits.timeout, droppable=("seed",))
    calls = Calls(client, cache, limits, budget or Budget())
    places = [(document, k) for document in documents for k in range(samples)]
    requests = [_request(endpoint, document, k, sampler) for document, k in places]
    with tqdm(total=len(requests), unit="text", dynamic_ncols=True) as bar:
        answers = calls.run(requests, bar.update)
    used = sampler | ({"seed": None} if "seed" in client.dropped else {})
    rows = [
        generation(document, answer.text.strip(), None, answer.finish_reason, used, endpoint.model)
        | ({"sample": k} if samples > 1 else {})
        for (document, k), answer in zip(places, answers)
        if answer is not None
    ]
    report(calls, len(requests) - len(rows))
    _report_empty(endpoint, rows)
    return rows, cache


def report(calls: Calls, missing: int) -> None:
    tally, endpoint = calls.tally, calls.client.endpoint
    cost = f", ${tally.spent:.2f}" if endpoint.prices else ""
    log.info(
        "%s: %d requests, %d answers from before, %d retries, %d tokens in and %d out%s",
        endpoint.name,
        tally.asked,
        tally.kept,
        tally.retries,
        tally.prompt_tokens,
        tally.completion_tokens,
        cost,
    )
    if missing:
        why = "the cap on spend was reached" if tally.capped else "the endpoint did not answer"
        log.warning("%s: %d requests without an answer: %s", endpoint.name, missing, why)


def _report_empty(endpoint: Endpoint, rows: Sequence[dict]) -> None:
    """Say how many texts are empty, and stop with status 1 where all are: they are no result."""
    empty = [row for row in rows if not row["text"]]
    if not empty:
        return
    cut = sum(row["finish_reason"] == "length" for row in empty)
    log.warning(
        "%s: %d of %d answers are empty, %d of them at the token limit: a model that thinks first "
        "needs more --max-tokens",
        endpoint.name,
        len(empty),
        len(rows),
        cut,
    )
    if len(empty) == len(rows):
        raise SystemExit(1)


def _request(endpoint: Endpoint, document: Document, sample: int, sampler: dict) -> ChatRequest:
    messages = prompt_messages(document)
    parameters = {k: v for k, v in sampler.items() if k != "max_tokens"} | {
        "seed": sampler["seed"] + sample
    }
    key = digest("text", endpoint.url, endpoint.model, messages, sampler, document.id, sample)
    return ChatRequest(key, messages, sampler["max_tokens"], parameters)
