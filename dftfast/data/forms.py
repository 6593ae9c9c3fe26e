"""Rows as people have them, in the three forms that a document is made of.

Public data sets name the same things in many ways. What a row's columns are called decides what it
is; the result has `messages`, or `prompt` and `completion`, or `text` and a brief.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dftfast.runtime.errors import UserError

PAGE = "docs/corpus.md"
PLAIN_BRIEF = "A text like the others of this collection"  # of a text that comes without a brief
BRIEF = ("title", "use_case", "style", "genre", "outline", "target_words", "em_dashes_allowed")
_ROLES = {  # of ShareGPT, Vicuna, Axolotl and their like
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "assistant", "model", "bot", "chatgpt", "function_call"), "assistant"),
    "system": "system",
    **dict.fromkeys(("tool", "function", "observation", "function_response"), "tool"),
}
_ANSWERS = ("completion", "output", "response", "answer")


def canonical(row: Mapping) -> dict:
    """The row in corpus, chat or completion form; one that is so already is the same but for
    values that mean nothing (NaN, None).

    Raises:
        UserError: a conversation has a speaker that is not known.
    """
    row = {key: value for key, value in row.items() if not _is_nothing(value)}
    if "messages" in row:
        return row
    if "conversations" in row or "conversation" in row:
        return _conversation(row)
    if "instruction" in row:
        return _instruction(row)
    if isinstance(row.get("prompt"), str) and not row["prompt"].strip():
        del row["prompt"]
    asked = next((name for name in ("prompt", "question", "query") if name in row), None)
    answer = next((name for name in _ANSWERS if name in row), None)
    if asked and answer and "text" not in row:
        return {key: value for key, value in row.items() if key not in (asked, answer)} | {
            "prompt": row[asked],
            "completion": row[answer],
        }
    if "text" in row and "prompt" not in row and "title" not in row:
        row["title"] = PLAIN_BRIEF
    return row


def is_question(row: Mapping) -> bool:
    """Whether `prompt` is all that asks for the text, and so is what the model is shown."""
    return "prompt" in row and not any(name in row for name in BRIEF)


def _conversation(row: dict) -> dict:
    """ShareGPT: a list of {"from", "value"}, and perhaps a column `system`."""
    field = "conversations" if "conversations" in row else "conversation"
    turns = row[field]
    if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
        raise UserError(f"{field}: expected a list of objects with from and value ({PAGE})")
    messages = []
    for number, turn in enumerate(turns):
        speaker = turn.get("from", turn.get("role"))
        if not isinstance(speaker, str) or speaker.lower() not in _ROLES:
            raise UserError(
                f"{field}[{number}].from: {speaker!r} is not among {', '.join(_ROLES)} ({PAGE})"
            )
        said = turn.get("value", turn.get("content"))
        messages.append({"role": _ROLES[speaker.lower()], "content": said})
    rest = {key: value for key, value in row.items() if key not in (field, "system")}
    return rest | {"messages": _system(row) + messages}


def _instruction(row: dict) -> dict:
    """Alpaca and Dolly: instruction, perhaps with input or context, and an answer."""
    more = next((row[name] for name in ("input", "context") if row.get(name)), None)
    parts = [row["instruction"], *([more] if more else [])]
    if not all(isinstance(part, str) for part in parts):
        raise UserError(f"instruction, input: expected strings ({PAGE})")
    answer = next((row[name] for name in _ANSWERS if name in row), None)
    said = [] if answer is None else [{"role": "assistant", "content": answer}]
    asked = [{"role": "user", "content": "\n\n".join(parts)}]
    used = ("instruction", "input", "context", "system", "text", *_ANSWERS)
    rest = {key: value for key, value in row.items() if key not in used}
    return rest | {"messages": _system(row) + asked + said}


def _system(row: dict) -> list[dict]:
    said = row.get("system")
    return [{"role": "system", "content": said}] if isinstance(said, str) and said.strip() else []


def _is_nothing(value: object) -> bool:
    """None, or the NaN that pandas writes for a gap."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def whole(value: Any) -> Any:
    """An integer for a float without a fraction: pandas has no column of integers with gaps."""
    is_whole = isinstance(value, float) and math.isfinite(value) and value == int(value)
    return int(value) if is_whole else value


def message_of(given: Mapping) -> dict | None:
    """A message with its content as text; None for an empty system message.

    Parts of text are joined. An assistant's calls of tools stand beside an empty content, as chat
    templates expect them.

    Raises:
        UserError: its message begins with the field.
    """
    role, content = given.get("role"), given.get("content")
    if not isinstance(role, str) or not role.strip():
        raise UserError(f"role: expected a string, found {role!r}")
    if isinstance(content, list):
        content = "".join(_part(part, number) for number, part in enumerate(content))
    extra = {
        key: given[key]
        for key in ("tool_calls", "tool_call_id", "name")
        if not _is_nothing(given.get(key))
    }
    if _is_nothing(content) and extra.get("tool_calls"):
        content = ""
    if role == "system" and (content is None or (isinstance(content, str) and not content.strip())):
        return None
    return {"role": role, "content": content, **extra}


def _part(part: object, number: int) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if isinstance(part, str):
        return part
    if kind != "text" or not isinstance(part, Mapping) or not isinstance(part.get("text"), str):
        raise UserError(
            f"content[{number}]: only parts of text are supported, this is "
            f"{kind or type(part).__name__}"
        )
    return part["text"]
