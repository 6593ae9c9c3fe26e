"""Writes what pages take from elsewhere: error messages, tables of results, figures.

python docs/build.py            # after a change of messages or of benchmarks/results
python docs/build.py --check    # status 1, and which files differ, if that was forgotten
"""

from __future__ import annotations

import sys
from pathlib import Path

from builders.parts import built, stale

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: list[str]) -> int:
    found = stale(ROOT)
    if "--check" in arguments:
        for path in found:
            print(f"{path.relative_to(ROOT)} is not as docs/build.py writes it")
        return 1 if found else 0
    content = built(ROOT)
    for path in found:
        path.parent.mkdir(exist_ok=True)
        path.write_text(content[path], encoding="utf-8")
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
