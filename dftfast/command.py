"""What every command does around its work: logging, one-line errors, exit statuses."""
from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from dftfast.errors import UserError


class ArgumentParser(argparse.ArgumentParser):
    """Prints mistakes as every other bad input is printed: one line, exit status 2."""

    def __init__(self, **options):
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"command line: {message} (--help lists the options)")


def run(main: Callable[[Sequence[str]], None]) -> NoReturn:
    """Call `main(arguments)` and exit: 0, 2 with one line for a UserError, 130 for Ctrl-C."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("dftfast").setLevel(logging.INFO)
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        sys.exit(130)
    sys.exit(0)
