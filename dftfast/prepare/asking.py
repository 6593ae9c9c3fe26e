"""Questions to a model, asked again while the answer does not pass its check."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any, Protocol

import yaml

from dftfast.endpoint.cache import digest
from dftfast.runtime.errors import UserError

ATTEMPTS = 3  # at a question
_SHOWN = 2000  # characters of a wrong answer that the model is shown again
_NEEDED = {
    "clean": (),
    "clean_document": ("lines",),
    "brief": (),
    "brief_document": ("variant", "text"),
    "again": ("problem",),
}


class Wrong(Exception):
    """An answer that cannot be used; the message tells the model why."""


@dataclass(frozen=True)
class Question:
    """What a model is asked.

    Attributes:
        check: the decoded JSON object to what is used of it; raises Wrong.
        max_tokens: of the answer.
    """

    messages: list[dict[str, str]]
    check: Callable[[dict], Any]
    max_tokens: int


class Asker(Protocol):
    """A model. Its answers are kept on disk by the hash of model, messages and limit."""

    def __call__(self, keys: list[str], questions: list[Question]) -> list[str | None]:
        """The text of each answer; None where there is none."""
        ...

    def holds(self, key: str) -> bool:
        """Whether the answer is kept from before."""
        ...

    @property
    def identity(self) -> list[str]:
        """What the answers depend on besides the question."""
        ...


@dataclass(frozen=True)
class Prompts:
    """The file of prompts.

    Attributes:
        texts: name -> template.
        variants: kinds of prompt.
    """

    texts: dict[str, Template]
    variants: list[str]

    @classmethod
    def load(cls, path: Path | None = None) -> Prompts:
        """From the user's file, or the project's own.

        Raises:
            UserError: a template is missing, or has other names to fill in.
        """
        path = path or Path(__file__).with_name("prompts.yaml")
        try:
            written = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UserError(f"--prompts: {path} cannot be read: {error}") from None
        variants = written.get("variants") if isinstance(written, dict) else None
        if not isinstance(variants, list) or not variants:
            raise UserError(f"--prompts: {path}: variants: expected a list of kinds of prompt")
        texts = {}
        for name, fields in _NEEDED.items():
            text = written.get(name)
            if not isinstance(text, str) or _names(text) != set(fields):
                holds = " and ".join(f"${field}" for field in fields) or "no $name"
                raise UserError(f"--prompts: {path}: {name}: expected a text with {holds} in it")
            texts[name] = Template(text)
        return cls(texts, [str(variant) for variant in variants])

    def fill(self, name: str, **values: str) -> str:
        return self.texts[name].substitute(values).strip()


def _names(text: str) -> set[str]:
    """What a template has to fill in."""
    matches = Template.pattern.finditer(text)
    return {name for match in matches if (name := match["named"] or match["braced"])}


def ask(
    asker: Asker, questions: Sequence[Question], prompts: Prompts, counts: Counter[str]
) -> list[Any | None]:
    """What is used of each answer; None where no attempt gave one that passes."""
    found: list[Any | None] = [None] * len(questions)
    pending = dict(enumerate(questions))
    for attempt in range(ATTEMPTS):
        keys = [key_of(asker, question) for question in pending.values()]
        texts = asker(keys, list(pending.values()))
        again = {}
        for (place, question), text in zip(pending.items(), texts):
            if text is None:
                counts["no answer"] += 1
                continue
            try:
                found[place] = question.check(_decoded(text))
            except Wrong as problem:
                counts[f"not usable: {problem}"] += 1
                more = prompts.fill("again", problem=str(problem))
                said = [{"role": "assistant", "content": text[:_SHOWN] or "(nothing)"}]
                messages = [*question.messages, *said, {"role": "user", "content": more}]
                again[place] = Question(messages, question.check, question.max_tokens)
        pending = again
        if not pending:
            break
        counts["asked again"] += len(pending) if attempt + 1 < ATTEMPTS else 0
    return found


def key_of(asker: Asker, question: Question) -> str:
    return digest("prepare", asker.identity, question.messages, question.max_tokens)


def _decoded(text: str) -> dict:
    """The first JSON object of an answer, whatever stands around it."""
    start = text.find("{")
    try:
        value, _ = json.JSONDecoder().raw_decode(text[start:]) if start >= 0 else (None, 0)
    except (ValueError, RecursionError):
        raise Wrong("it is not valid JSON") from None
    if not isinstance(value, dict):
        raise Wrong("there is no JSON object in it")
    return value
