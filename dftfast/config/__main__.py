"""`python -m dftfast.config > docs/configuration.md` writes the page of every key.

With options of `python -m dftfast.train` it writes the configuration that they resolve to.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dftfast.config.command_line import parse_command_line
from dftfast.config.help import markdown
from dftfast.runtime.command import run

ABOUT = "Print the page of every key, or with options the configuration that they resolve to."


def main(arguments: Sequence[str]) -> None:
    if arguments:
        config = parse_command_line(arguments, "python -m dftfast.config", ABOUT)
    sys.stdout.write(config.to_yaml() if arguments else markdown())


if __name__ == "__main__":
    run(main)
