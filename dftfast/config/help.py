"""The text of `--help`, of `--help-all` and docs/configuration.md, all made from the schema."""

from __future__ import annotations

import datetime
import textwrap
import types
import typing
from collections.abc import Iterator

from pydantic.fields import FieldInfo

from dftfast.config.layers import SHORTHANDS, presets
from dftfast.config.schema import Config, Section, is_section, keys

WIDTH = 80  # columns of the terminal that the help is written for
COMMON = {  # what most people set, in the order in which they meet it
    "model.name": "folder or hub id; none is SmolLM2-135M",
    "data.train": "texts: files, folders or hf:NAME:SPLIT",
    "data.held_out": "texts to report on; none: a tenth",
    "run.folder": "folder of the run",
    "sft.learning_rates": "one fine-tuned model for each",
    "sft.max_texts": "texts to fine-tune on; none is all",
    "sweep.temperatures": "samplers that DFT is compared with",
    "dft.phases": "times to sample, credit and train",
    "dft.prompts": "training prompts a phase",
    "evaluation.prompts": "prompts to report on; none is all",
}
_WORDS = {
    **{float: "number", int: "integer", str: "text", bool: "true|false", type(None): "none"},
    datetime.date: "date",
}
_SHORT = {key: short for short, key in SHORTHANDS.items()}


def help_text(program: str, about: str = "") -> str:
    """One screen: what the command does, three examples and the ten keys that people set."""
    lines = [
        f"usage: {program} [--preset NAME] [--config FILE] [--key=value ...]",
        "",
        *textwrap.wrap(about, WIDTH),
        "",
        f"  {program}",
        f"  {program} --data corpus.jsonl --out runs/mine",
        f"  {program} --resume runs/mine --dft.phases=5",
        f"  {program} --data corpus.jsonl --dry-run",
        "",
    ]
    for key, meaning in COMMON.items():
        name = f"--{_SHORT.get(key, key)}={default_text(keys()[key])}"
        lines.append(f"  {name:<37} {meaning}")
    return "\n".join(
        [
            *lines,
            "",
            *textwrap.wrap(f"presets: {', '.join(presets())}", WIDTH),
            f"--help-all lists all {len(keys())} keys; --version says which dftfast this is",
        ]
    )


def help_all(program: str, about: str = "") -> str:
    """Every key with type, default and meaning, by section."""
    lines = [
        f"usage: {program} [--preset NAME] [--config FILE.yaml | --resume FOLDER]",
        f"       {' ' * len(program)} [--section.key=value ...]",
        "",
        *textwrap.wrap(about, WIDTH),
        "",
        f"presets: {', '.join(presets())}",
        *textwrap.wrap(
            "short for the keys used most: "
            + ", ".join(f"--{short} = --{key}" for short, key in SHORTHANDS.items()),
            WIDTH,
        ),
        "--resume goes on with the run in a folder; so does the command that began it",
        "--dry-run checks the input, measures this machine, prints the plan and stops",
        "lists are comma-separated; none leaves a key to its automatic choice",
    ]
    for section, meaning, fields in _sections():
        lines += ["", f"{section}: {meaning}"]
        for key, field in fields.items():
            lines.append(f"  --{key}={default_text(field)}  ({type_text(field.annotation)})")
            indent = " " * 6
            lines += textwrap.wrap(
                field.description or "", WIDTH, initial_indent=indent, subsequent_indent=indent
            )
    return "\n".join(lines)


def markdown() -> str:
    """docs/configuration.md."""
    lines = [
        "# Configuration",
        "",
        "<!-- Made by `python -m dftfast.config`; a test compares it with the schema. -->",
        "",
        "A run is configured by one tree of keys.",
        "Later layers win: built-in defaults, then `--preset NAME`, then `--config FILE.yaml`, "
        "then `--section.key=value` on the command line.",
        "Unknown keys are refused and the nearest valid key is named.",
        "The resolved tree is written to `config.yaml` in the run folder, which `--config` reads "
        "back and `--resume FOLDER` goes on with.",
        "",
        f"Presets: {', '.join(f'`{name}`' for name in presets())}.",
        "Lists are comma-separated on the command line.",
        "`none` leaves a key to its automatic choice.",
        "",
        "## What most people set",
        "",
        "| on the command line | default | meaning |",
        "|---|---|---|",
    ]
    for key in [*COMMON, *(key for key in _SHORT if key not in COMMON)]:
        said = COMMON.get(key) or keys()[key].description
        lines.append(f"| `--{_SHORT.get(key, key)}` | `{default_text(keys()[key])}` | {said} |")
    shorthands = ", ".join(f"`--{short}` for `{key}`" for short, key in SHORTHANDS.items())
    lines += ["", f"Short forms: {shorthands}."]
    for section, meaning, fields in _sections():
        lines += ["", f"## {section}", "", f"{meaning[0].upper()}{meaning[1:]}.", ""]
        lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
        for key, field in fields.items():
            kind = type_text(field.annotation).replace("|", "\\|")
            lines.append(f"| `{key}` | {kind} | `{default_text(field)}` | {field.description} |")
    return "\n".join(lines) + "\n"


def type_text(annotation: object) -> str:
    """A type of the schema in words: "number", "list of integers", "true|false or none"."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_text(arguments[0])
    if origin is typing.Literal:
        return "|".join(arguments)
    if origin is list:
        inner = type_text(arguments[0])
        return f"list of {inner}{'s' if inner in ('number', 'integer', 'text') else ''}"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_text(argument) for argument in arguments)
    return _WORDS[typing.cast(type, annotation)]


def default_text(field: FieldInfo) -> str:
    """A key's default as one types it on the command line."""
    if isinstance(field.default, list):
        return ",".join(str(item) for item in field.default) or "none"
    if field.default is None:
        return "none"
    return str(field.default).lower() if isinstance(field.default, bool) else str(field.default)


def _sections(
    section: type[Section] = Config, prefix: str = ""
) -> Iterator[tuple[str, str, dict[str, FieldInfo]]]:
    """(dotted section, its meaning, its own keys)."""
    for name, field in section.model_fields.items():
        if not is_section(field.annotation):
            continue
        path = f"{prefix}{name}"
        own = {key: value for key, value in keys().items() if key.rpartition(".")[0] == path}
        yield path, field.annotation.__doc__ or "", own
        yield from _sections(field.annotation, f"{path}.")
