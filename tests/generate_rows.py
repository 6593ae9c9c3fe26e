"""Prompts for the generate command, and the rows that it writes."""

from __future__ import annotations

import json
from pathlib import Path

PROMPTS = [
    {"id": "a", "title": "Tea", "target_words": 20},
    {"id": "b", "messages": [{"role": "user", "content": "Go"}]},
]


def save_prompts(path: Path) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in PROMPTS))
    return path


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def options(model: Path, prompts: Path, out: Path, *more: str) -> list[str]:
    paths = ["--model", str(model), "--prompts", str(prompts), "--out", str(out)]
    return [*paths, *"--max-tokens 12 --dtype float32 --device cpu".split(), *more]
