"""The whole main job on texts of your own, from Python.

python examples/custom_corpus.py OUT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import dftfast

LETTERS = [  # replace by a few hundred texts, each with what a person would ask to get it
    (f"an invitation to room {room} at {hour} o'clock", "a note", text)
    for room in range(60)
    for hour, text in (
        (9, f"Dear all, we meet in room {room} at nine. Bring the list of week {room + 1}."),
        (3, f"Friends! Room {room}, three o'clock, cake. Do not tell Anna, it is her day."),
        (8, f"The choir sings in room {room} at eight tonight. Come early, chairs are few."),
    )
]


def write_corpus(path: Path) -> Path:
    """One JSON object a line: `text` and `title`, and optionally `use_case`, `style`, `outline`."""
    rows = [{"text": text, "title": title, "use_case": use} for title, use, text in LETTERS]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def main(out: str, *more: tuple[str, str]) -> Path:
    """Train on the corpus in the smallest preset; the folder of the run, with report.html."""
    corpus = write_corpus(Path(out) / "corpus.jsonl")
    keys = [("data.train", str(corpus)), ("run.folder", f"{out}/run"), *more]
    return dftfast.train(dftfast.load_config("smoke", overrides=keys))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(main(sys.argv[1]))
