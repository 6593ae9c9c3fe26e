"""What `dftfast plan` prints of the presets, as a block of a page."""

from __future__ import annotations

from contextlib import redirect_stdout
from functools import cache
from io import StringIO

from dftfast.plan import main


@cache
def plan_block() -> str:
    printed = StringIO()
    with redirect_stdout(printed):
        main([])
    return f"```text\n{printed.getvalue()}```\n"
