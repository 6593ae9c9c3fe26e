"""Generations, one JSON object a line: what a model wrote for each brief, and how it was sampled."""
from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from dftfast.data.prompt import prompt_messages
from dftfast.data.schema import Document
from dftfast.files import atomic_file


def generation(document: Document, text: str, token_ids: list[int], finish_reason: str, sampler: dict,
               model: str) -> dict:
    """A row: `id` of the document, `prompt` as the model was shown it (the last message), `text`, `token_ids`,
    `finish_reason` ("stop" or "length"), `sampler` (temperature, top_k, top_p, seed), `model`."""
    return {
        "id": document.id,
        "prompt": prompt_messages(document)[-1]["content"],
        "text": text,
        "token_ids": token_ids,
        "finish_reason": finish_reason,
        "sampler": sampler,
        "model": model,
    }


def write_generations(path: str | Path, rows: Iterable[dict]) -> None:
    """Write the file whole or not at all."""
    with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
