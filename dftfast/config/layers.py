"""Layers of configuration, later over earlier: defaults, preset, YAML files, command line.

Every value remembers where it came from, so that a mistake is reported with its file and line.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import yaml
from pydantic import ValidationError
from yaml.composer import ComposerError

from dftfast.config.schema import Config, keys
from dftfast.runtime.errors import UserError

# what a user types most, without its section
SHORTHANDS = {
    "model": "model.name",
    "data": "data.train",
    "held-out": "data.held_out",
    "target": "dft.target",
    "embedder": "evaluation.embedder",
    "out": "run.folder",
    "seed": "run.seed",
    "minutes": "run.minutes",
    "profile": "run.profile",
}
LARGEST_FILE = 1 << 20  # characters
Layer = dict[str, tuple[object, str]]  # dotted key -> value, where it was given


def presets() -> list[str]:
    return sorted(
        file.name.removesuffix(".yaml")
        for file in _preset_folder().iterdir()
        if file.name.endswith(".yaml")
    )


def load_config(
    preset: str | None = None,
    files: Sequence[str | Path] = (),
    overrides: Sequence[tuple[str, str]] = (),
) -> Config:
    """Merge the layers and validate.

    Args:
        overrides: (key, text) pairs as typed on the command line.
    """
    merged: Layer = {}
    if preset is not None:
        if preset not in presets():
            raise UserError(
                f"--preset: there is no preset {preset!r}; there are {', '.join(presets())}"
            )
        merged |= _read_yaml(
            (_preset_folder() / f"{preset}.yaml").read_text(encoding="utf-8"), f"preset {preset}"
        )
    for file in files:
        try:
            with open(file, encoding="utf-8") as opened:
                text = opened.read(LARGEST_FILE + 1)
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"--config: {file} cannot be read: {error}") from error
        if len(text) > LARGEST_FILE:
            raise UserError(
                f"--config: {file} is longer than {LARGEST_FILE >> 20} MiB; "
                "that is no configuration"
            )
        merged |= _read_yaml(text, str(file))
    for name, text in overrides:
        key = SHORTHANDS.get(name, name).replace("-", "_")
        _check_key(key, "command line")
        merged[key] = (_typed(key, text), "command line")
    return _validated(merged)


def _preset_folder():
    return resources.files("dftfast") / "presets"


class _Loader(yaml.SafeLoader):
    """Without aliases, by which a short file can stand for a huge one."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise ComposerError(
                None, None, f"the alias *{event.anchor} is not supported", event.start_mark
            )
        return super().compose_node(parent, index)


def _read_yaml(text: str, source: str) -> Layer:
    try:
        root = yaml.compose(text, _Loader)
        layer: Layer = {}
        if root is not None:
            _flatten(root, "", source, layer)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise UserError(f"{source}, line {line}: not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise UserError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from error
    except RecursionError:
        raise UserError(
            f"{source}: not valid YAML for a configuration: nested too deeply"
        ) from None
    return layer


def _flatten(node: yaml.Node, prefix: str, source: str, layer: Layer) -> None:
    if not isinstance(node, yaml.MappingNode):
        raise UserError(
            f"{source}, line {node.start_mark.line + 1}: expected `key: value` lines"
            f"{f' under {prefix[:-1]}' if prefix else ''}"
        )
    for name, value in node.value:
        key, where = f"{prefix}{name.value}", f"{source}, line {name.start_mark.line + 1}"
        if any(known.startswith(f"{key}.") for known in keys()):
            if value.tag != "tag:yaml.org,2002:null":  # a section with every key commented out
                _flatten(value, f"{key}.", source, layer)
            continue
        _check_key(key, where)
        if key in layer:
            raise UserError(f"{where}: {key} is given twice (first: {layer[key][1]})")
        loader = _Loader("")
        layer[key] = (loader.construct_document(value), where)


def _check_key(key: str, where: str) -> None:
    known = keys()
    if key in known:
        return
    last = key.rpartition(".")[2]
    near = (
        difflib.get_close_matches(key, known, 1, 0.75)
        or [k for k in known if k.rpartition(".")[2] == last][:1]
    )
    near = near or difflib.get_close_matches(key, known, 1, 0.0)
    raise UserError(f"{where}: unknown key {key}; the nearest is {near[0]}")


def _typed(key: str, text: str) -> object:
    """Text from the command line as the key's type wants it; validation reads the numbers."""
    annotation = keys()[key].annotation
    is_list = typing.get_origin(annotation) is list
    if text.lower() in ("none", "null") and (is_list or type(None) in typing.get_args(annotation)):
        return [] if is_list else None
    if is_list:
        return [
            part.strip()
            for part in text.removeprefix("[").removesuffix("]").split(",")
            if part.strip()
        ]
    return text


def _validated(merged: Layer) -> Config:
    tree: dict = {}
    for key, (value, _) in merged.items():
        *sections, name = key.split(".")
        branch = tree
        for section in sections:
            branch = branch.setdefault(section, {})
        branch[name] = value
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        path = [str(part) for part in problem["loc"]]
        key = next(key for end in range(len(path)) if (key := ".".join(path[: end + 1])) in merged)
        reason = problem["msg"][0].lower() + problem["msg"][1:]
        raise UserError(
            f"{merged[key][1]}: {key}: {reason.replace('input should', 'should')}, "
            f"found {repr(problem['input'])[:200]}"
        ) from None
