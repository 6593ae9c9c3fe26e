"""`dftfast COMMAND ...`, the same as `python -m dftfast.COMMAND ...`."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import NoReturn

from dftfast.runtime.command import run
from dftfast.runtime.errors import UserError
from dftfast.runtime.version import __version__

COMMANDS = {
    "prepare": "make a corpus with briefs from folders of documents",
    "target": "make a file of what training and evaluation need of texts, without the texts",
    "train": "fine-tune on human texts, then towards their distribution, and report",
    "generate": "write a text for every prompt of a file",
    "evaluate": "measure how far texts are from human ones",
    "check": "say where texts differ from a corpus, for people and for CI",
    "push": "upload the result of a run to the Hugging Face hub",
    "write": "open a page to write in: briefs, drafts by a model, checks as you edit",
    "plan": "say what a run will take on cards that are not here",
    "config": "print every key of `train` as a page, or with its options the keys they resolve to",
    "env": "print versions, processor and cards, for reports of faults",
}
ROOMS = {"config", "prepare"}  # commands that are packages


def main() -> NoReturn:
    run(dispatch)


def dispatch(arguments: Sequence[str]) -> None:
    """Call the command that the first argument names with the others."""
    name, *rest = arguments or ["--help"]
    if name in ("-h", "--help"):
        print(usage())
    elif name == "--version":
        print(f"dftfast {__version__}")
    elif name not in COMMANDS:
        near = get_close_matches(name, COMMANDS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(COMMANDS)}"
        raise UserError(f"command line: no command is called {name!r}; {hint}")
    else:
        import_module(f"dftfast.{name}.__main__" if name in ROOMS else f"dftfast.{name}").main(rest)


def usage() -> str:
    lines = [f"  {name:<10}{meaning}" for name, meaning in COMMANDS.items()]
    return "\n".join(
        [
            "usage: dftfast COMMAND [OPTIONS]",
            "",
            *lines,
            "",
            "dftfast COMMAND --help lists its options; --version says which dftfast this is",
        ]
    )


if __name__ == "__main__":
    main()
