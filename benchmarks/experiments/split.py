"""Cut a corpus folder (train.jsonl, valid.jsonl) for an experiment.

    python benchmarks/experiments/split.py CORPUS OUT --words 70 --genre email --share 0.23

Held-out texts are those of valid.jsonl and a share of train.jsonl.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from dftfast.data.split import hash_share


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--words", type=int, default=220, help="longest text (default %(default)s)")
    parser.add_argument("--genre", help="only this one")
    parser.add_argument(
        "--share", type=float, default=0.0, help="share of train.jsonl that is held out as well"
    )
    options = parser.parse_args()
    parts: dict[str, list[str]] = {"train": [], "held_out": []}
    for file in ("train", "valid"):
        for line in (options.corpus / f"{file}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if row["words"] > options.words or options.genre not in (None, row["genre"]):
                continue
            held_out = file == "valid" or hash_share(row["id"], "experiment") < options.share
            parts["held_out" if held_out else "train"].append(line)
    options.out.mkdir(parents=True, exist_ok=True)
    for part, lines in parts.items():
        (options.out / f"{part}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"{part}: {len(lines)} texts")


if __name__ == "__main__":
    main()
