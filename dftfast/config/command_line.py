"""The command line of a run: `--preset`, `--config`, `--resume` and `--section.key=value`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dftfast.config.help import help_all, help_text
from dftfast.config.layers import SHORTHANDS, load_config
from dftfast.config.schema import Config, keys
from dftfast.runtime.errors import UserError
from dftfast.runtime.version import __version__


def parse_command_line(
    arguments: Sequence[str], program: str = "python -m dftfast.train", about: str = ""
) -> Config:
    """The configuration that `--preset NAME`, `--config FILE` and `--section.key=value` ask for.

    `--key value` is read too, and `--resume FOLDER` takes the configuration of the run in the
    folder. `--help`, `--help-all` and `--version` print and exit.

    Raises:
        UserError: for anything unknown or invalid.
    """
    preset, files, overrides = None, [], []
    pending = list(arguments)
    while pending:
        argument = pending.pop(0)
        if argument in ("-h", "--help", "--help-all", "--version"):
            print(_answer(argument, program, about))
            raise SystemExit(0)
        name, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or not name:
            raise UserError(
                f"command line: {argument!r} is not an option; options look like "
                "--section.key=value (--help-all lists them)"
            )
        if not equals:
            if pending and not pending[0].startswith("--"):
                value = pending.pop(0)
            elif _is_flag(name):
                value = "true"
            else:
                raise UserError(f"command line: --{name} needs a value: --{name}=...")
        if name == "preset":
            preset = value
        elif name == "config":
            files.append(value)
        elif name == "resume":
            files.append(_config_of(value))
            overrides.append(("run.folder", value))
        else:
            overrides.append((name, value))
    return load_config(preset, files, overrides)


def _answer(argument: str, program: str, about: str) -> str:
    if argument == "--version":
        return f"dftfast {__version__}"
    return (help_all if argument == "--help-all" else help_text)(program, about)


def _config_of(folder: str) -> Path:
    path = Path(folder) / "config.yaml"
    if not path.is_file():
        raise UserError(f"--resume: {folder} is not the folder of a run: it has no config.yaml")
    return path


def _is_flag(name: str) -> bool:
    field = keys().get(SHORTHANDS.get(name, name).replace("-", "_"))
    return field is not None and field.annotation is bool
