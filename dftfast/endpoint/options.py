"""Command-line options that every command with an endpoint shares."""

from __future__ import annotations

import argparse
import math

from dftfast.endpoint.calls import Budget, Limits
from dftfast.runtime.errors import UserError


def add_endpoint_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--concurrency",
        type=int,
        default=Limits.concurrency,
        help="requests to an endpoint at a time (default %(default)s)",
    )
    add(
        "--requests-per-minute",
        type=float,
        help="requests to an endpoint that are started in a minute at most",
    )
    add(
        "--max-cost",
        type=float,
        metavar="DOLLARS",
        help="stop asking endpoints before they have cost this much in this run",
    )


def limits_of(options: argparse.Namespace) -> tuple[Limits, Budget]:
    """The limits and the cap of the options.

    Raises:
        UserError: a number is out of its range.
    """
    if options.concurrency < 1:
        raise UserError(f"--concurrency: {options.concurrency}; must be at least 1")
    for name in ("requests_per_minute", "max_cost"):
        value = getattr(options, name)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise UserError(f"--{name.replace('_', '-')}: {value:g}; must be above 0")
    return Limits(options.concurrency, options.requests_per_minute), Budget(options.max_cost)
