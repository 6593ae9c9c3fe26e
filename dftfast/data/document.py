"""One row of a corpus: what a person wrote, and the brief a model is given to write it.

Three forms of row are read, and what `dftfast.data.forms` makes of others; further columns are
ignored.

- corpus form: `text`, and `title` or `prompt` (shown as it is where nothing but it asks for the
  text); optional `id`, `use_case`, `style`, `genre`,
  `outline` (list of strings)
- chat form: `messages`, a list of `{"role", "content"}` that ends with the assistant's message
- completion form: `prompt` and `completion`, both strings or both lists of messages
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from dftfast.data.forms import PAGE, canonical, is_question, message_of, whole
from dftfast.runtime.errors import UserError
from dftfast.runtime.words import words

EM_DASH = "\u2014"


@dataclass(frozen=True, slots=True)
class Document:
    """A human text and its brief.

    Attributes:
        id: unique in its corpus; decides which split the document falls in.
        text: the human writing. Empty only in files of prompts.
        prompt: what the text is about, or its title.
        messages: the conversation before the answer, given verbatim in chat and completion form,
            else None.
        target_words: length asked for; that of `text` unless the row says otherwise.
        em_dashes_allowed: whether `text` has one, unless the row says otherwise.
        target_tokens: length of `text` in the model's tokens, where a tokenizer was given at load.
    """

    id: str
    text: str
    prompt: str
    use_case: str | None = None
    style: str | None = None
    genre: str | None = None
    outline: tuple[str, ...] = ()
    messages: tuple[dict, ...] | None = None
    target_words: int | None = None
    em_dashes_allowed: bool = False
    target_tokens: int | None = None


def parse_row(row: object, needs_text: bool = True) -> Document:
    """The document of one row, a decoded JSON object.

    Args:
        needs_text: False takes a brief alone, too, for generation.

    Raises:
        UserError: its message begins with the field.
    """
    if not isinstance(row, Mapping):
        raise UserError(f"expected a JSON object, found {_kind(row)}")
    given, row = row, canonical(row)
    if "messages" in row:
        prompt, messages, text = _chat(_messages(row, "messages"), needs_text)
    elif "completion" in row or (row.get("text") is None and isinstance(row.get("prompt"), list)):
        prompt, messages, text = _completion(row, needs_text)
    else:
        if not {"text", "title", "prompt"} & row.keys():
            raise UserError(
                "text: missing; a row has text and title or prompt, prompt and completion, "
                "messages, conversations or an instruction, this one has "
                f"{_columns(given)} ({PAGE})"
            )
        text = _string(row, "text", needs_text) or ""
        prompt = _string(row, "prompt" if "prompt" in row else "title", required=False)
        if not prompt:
            raise UserError(f"title: missing or empty; a row has a title or a prompt ({PAGE})")
        messages = ({"role": "user", "content": prompt},) if is_question(row) else None
    if needs_text and not text.strip():
        named = next((name for name in ("text", "completion", "messages") if name in given), "text")
        raise UserError(f"{named}: empty")
    return Document(
        id=_id(row, messages or prompt, text),
        text=text,
        prompt=prompt,
        use_case=_string(row, "use_case", required=False),
        style=_string(row, "style", required=False),
        genre=_string(row, "genre", required=False),
        outline=_outline(row),
        messages=messages,
        target_words=_value(row, "target_words", int) or (len(words(text)) or None),
        em_dashes_allowed=bool(_value(row, "em_dashes_allowed", bool)) or EM_DASH in text,
    )


def _chat(messages: tuple[dict, ...], needs_text: bool) -> tuple[str, tuple[dict, ...], str]:
    text = ""
    if messages[-1]["role"] == "assistant":
        text, messages = messages[-1]["content"], messages[:-1]
    elif needs_text:
        raise UserError(
            f"messages: the last one must be the assistant's, its role is {messages[-1]['role']!r}"
        )
    asked = [message["content"] for message in messages if message["role"] == "user"]
    if not asked or messages[-1]["role"] not in ("user", "tool"):
        raise UserError("messages: there must be a user's message to answer")
    return asked[-1], messages, text


def _completion(row: Mapping, needs_text: bool) -> tuple[str, tuple[dict, ...], str]:
    if isinstance(row.get("prompt"), list):
        answer = (
            _messages(row, "completion") if needs_text or row.get("completion") is not None else ()
        )
        return _chat((*_messages(row, "prompt"), *answer), needs_text)
    prompt = _required_string(row, "prompt")
    messages = ({"role": "user", "content": prompt},)
    return prompt, messages, _string(row, "completion", needs_text) or ""


def _messages(row: Mapping, field: str) -> tuple[dict, ...]:
    value = row.get(field)
    if not isinstance(value, list) or not value:
        raise UserError(f"{field}: expected a list of messages, found {_kind(value)}")
    messages = []
    for i, message in enumerate(value):
        if not isinstance(message, Mapping):
            raise UserError(
                f"{field}[{i}]: expected an object with role and content, found {_kind(message)}"
            )
        try:
            if (plain := message_of(message)) is not None:
                calls = bool(plain.get("tool_calls")) and not plain["content"]
                plain["content"] = "" if calls else _required_string(plain, "content")
                messages.append(plain)
        except UserError as error:
            raise UserError(f"{field}[{i}].{error}") from None
    if not messages:
        raise UserError(f"{field}: there must be a user's message to answer")
    return tuple(messages)


def _string(row: Mapping, field: str, required: bool) -> str | None:
    value = row.get(field)
    if value is None:
        if required:
            raise UserError(f"{field}: missing")
        return None
    if not isinstance(value, str):
        raise UserError(f"{field}: expected a string, found {_kind(value)}")
    if required and not value.strip():
        raise UserError(f"{field}: empty")
    return encodable(value, field)


def _required_string(row: Mapping, field: str) -> str:
    return _string(row, field, required=True) or ""


def _value(row: Mapping, field: str, kind: type):
    value = whole(row.get(field)) if kind is int else row.get(field)
    if value is not None and type(value) is not kind:
        expected = "true or false" if kind is bool else "an integer"
        raise UserError(f"{field}: expected {expected}, found {_kind(value)}")
    return value


def _outline(row: Mapping) -> tuple[str, ...]:
    value = row.get("outline")
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(point, str) for point in value):
        raise UserError(f"outline: expected a list of strings, found {_kind(value)}")
    return tuple(encodable(point, "outline") for point in value)


def _id(row: Mapping, brief: object, text: str) -> str:
    value = whole(row.get("id"))
    if value is None:
        return hashlib.sha256(f"{brief}\0{text}".encode()).hexdigest()[:16]
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        raise UserError(f"id: expected a string or an integer, found {_kind(value)}")
    return encodable(str(value), "id")


def _columns(row: Mapping) -> str:
    names = [str(name)[:40] for name in row][:8]
    return ", ".join(names) if names else "no columns"


def sample_number(identifier: str) -> int:
    """The number that random draws for this document depend on: the same wherever its row is."""
    return int.from_bytes(hashlib.sha256(identifier.encode()).digest()[:7], "big")


def encodable(value: str, field: str) -> str:
    """The string itself.

    Raises:
        UserError: it cannot be UTF-8.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UserError(
            f"{field}: contains half of a surrogate pair (\\ud800 to \\udfff), which is not text"
        ) from None
    return value


def _kind(value: object) -> str:
    if value == "" or value == []:
        return "an empty string" if value == "" else "an empty list"
    names = {
        type(None): "nothing",
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), type(value).__name__)
