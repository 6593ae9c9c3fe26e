"""The command line of a run: `--preset`, `--config`, `--resume` and `--section.key=value`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dftfast.config.help import help_text
from dftfast.config.layers import SHORTHANDS, load_config
from dftfast.config.schema import Config, keys
from dftfast.runtime.errors import UserError


def parse_command_line(
    arguments: Sequence[str], program: str = "python -m dftfast.train", about: str = ""
) -> Config:
    """The configuration that `--preset NAME`, `--config FILE` and `--section.key=value` ask for (`--key value` too);
    `--resume FOLDER` takes that of the run in the folder.

    `--help` prints every key with its default and exits. Raises UserError for anything unknown or invalid.
    """
    preset, files, overrides = None, [], []
    pending = list(arguments)
    while pending:
        argument = pending.pop(0)
        if argument in ("-h", "--help"):
            print(help_text(program, about))
            raise SystemExit(0)
        name, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or not name:
            raise UserError(
                f"command line: {argument!r} is not an option; options look like --section.key=value "
                "(--help lists them)"
            )
        if not equals:
            if not pending or pending[0].startswith("--"):
                if _is_flag(name):
                    overrides.append((name, "true"))
                    continue
                raise UserError(f"command line: --{name} needs a value: --{name}=...")
            value = pending.pop(0)
        if name == "preset":
            preset = value
        elif name == "config":
            files.append(value)
        elif name == "resume":
            files.append(Path(value) / "config.yaml")
            overrides.append(("run.folder", value))
        else:
            overrides.append((name, value))
    return load_config(preset, files, overrides)


def _is_flag(name: str) -> bool:
    field = keys().get(SHORTHANDS.get(name, name).replace("-", "_"))
    return field is not None and field.annotation is bool
