"""`python -m dftfast.prepare SOURCES... --out corpus.jsonl`."""

from __future__ import annotations

from dftfast.prepare.arguments import main
from dftfast.runtime.command import run

__all__ = ["main"]

if __name__ == "__main__":
    run(main)
