"""The text of `--help` and docs/configuration.md, both made from the schema."""

from __future__ import annotations

import textwrap
import types
import typing

from pydantic.fields import FieldInfo

from dftfast.config.layers import SHORTHANDS, presets
from dftfast.config.schema import Config, is_section, keys

_WORDS = {float: "number", int: "integer", str: "text", bool: "true|false", type(None): "none"}


def help_text(program: str, about: str = "") -> str:
    """Every key with type, default and meaning, by section."""
    lines = [
        f"usage: {program} [--preset NAME] [--config FILE.yaml | --resume FOLDER] [--section.key=value ...]",
        "",
    ]
    if about:
        lines += [about, ""]
    lines += [
        f"presets: {', '.join(presets())}",
        "short for the keys used most: "
        + ", ".join(f"--{a} = --{b}" for a, b in SHORTHANDS.items()),
        "--resume goes on with the run in a folder; so does the command that began it",
        "lists are comma-separated; none leaves a key to its automatic choice",
    ]
    for section, meaning, fields in _sections():
        lines += ["", f"{section}: {meaning}"]
        for key, field in fields.items():
            lines.append(f"  --{key}={default_text(field)}  ({type_text(field.annotation)})")
            lines += textwrap.wrap(
                field.description, 110, initial_indent=" " * 6, subsequent_indent=" " * 6
            )
    return "\n".join(lines)


def markdown() -> str:
    """docs/configuration.md."""
    lines = [
        "# Configuration",
        "",
        "<!-- Made by `python -m dftfast.config`; a test compares it with the schema. -->",
        "",
        "A run is configured by one tree of keys. Later layers win: built-in defaults, then `--preset NAME`, then",
        "`--config FILE.yaml` (sections as in the tables below), then `--section.key=value` on the command line.",
        "Unknown keys are refused and the nearest valid key is named. The resolved tree is written to `config.yaml` in",
        "the run folder, which `--config` reads back and `--resume FOLDER` goes on with.",
        "",
        f"Presets: {', '.join(f'`{name}`' for name in presets())}. Lists are comma-separated on the command line;",
        "`none` leaves a key to its automatic choice. Short forms: "
        + ", ".join(f"`--{short}` is `--{key}`" for short, key in SHORTHANDS.items())
        + ".",
    ]
    for section, meaning, fields in _sections():
        lines += [
            "",
            f"## {section}",
            "",
            f"{meaning[0].upper()}{meaning[1:]}.",
            "",
            "| key | type | default | meaning |",
            "|---|---|---|---|",
        ]
        for key, field in fields.items():
            kind = type_text(field.annotation).replace("|", "\\|")
            lines.append(f"| `{key}` | {kind} | `{default_text(field)}` | {field.description} |")
    return "\n".join(lines) + "\n"


def type_text(annotation: object) -> str:
    if typing.get_origin(annotation) is typing.Annotated:
        return type_text(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) is typing.Literal:
        return "|".join(typing.get_args(annotation))
    if typing.get_origin(annotation) is list:
        inner = type_text(typing.get_args(annotation)[0])
        return f"list of {inner}{'s' if inner in ('number', 'integer', 'text') else ''}"
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return " or ".join(type_text(argument) for argument in typing.get_args(annotation))
    return _WORDS[annotation]


def default_text(field: FieldInfo) -> str:
    if isinstance(field.default, list):
        return ",".join(str(item) for item in field.default) or "none"
    if field.default is None:
        return "none"
    return str(field.default).lower() if isinstance(field.default, bool) else str(field.default)


def _sections():
    """(dotted section, its meaning, its own keys)."""

    def walk(section, prefix):
        for name, field in section.model_fields.items():
            if is_section(field.annotation):
                path = f"{prefix}{name}"
                own = {
                    key: value for key, value in keys().items() if key.rpartition(".")[0] == path
                }
                yield path, field.annotation.__doc__, own
                yield from walk(field.annotation, f"{path}.")

    return walk(Config, "")
