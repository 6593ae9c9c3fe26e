"""What every command does around its work: logging, one-line errors, exit statuses."""

from __future__ import annotations

import argparse
import errno
import logging
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from dftfast.runtime.errors import Interrupted, TrainingStopped, UserError

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


class ArgumentParser(argparse.ArgumentParser):
    """Prints mistakes as every other bad input is printed: one line, exit status 2."""

    def __init__(self, **options):
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"command line: {message} (--help lists the options)")


def run(main: Callable[[Sequence[str]], None]) -> NoReturn:
    """Call `main(arguments)` and exit, with one line for what a user can act on.

    Statuses: 0 done; 2 bad input; 3 the run cannot go on (diverged, disk full); 75 stopped by a
    signal at a point that the same command goes on from; 130 stopped at once; 1 and a traceback for
    a bug.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("dftfast").setLevel(logging.INFO)
    try:
        main(sys.argv[1:])
    except UserError as error:
        _complain(error)
        sys.exit(2)
    except TrainingStopped as error:
        _complain(error)
        sys.exit(3)
    except OSError as error:
        if error.errno not in DISK:
            raise
        _complain(error)
        sys.exit(3)
    except Interrupted:
        sys.stderr.write("stopped; the same command goes on from here\n")
        sys.exit(75)
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        sys.exit(130)
    sys.exit(0)


def _complain(error: Exception) -> None:
    sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
