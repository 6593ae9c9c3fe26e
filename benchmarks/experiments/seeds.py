"""A run with several seeds, of everything: data order, fine-tuning, phases and answers.

    python benchmarks/experiments/seeds.py OUT [--seeds 3] [options of dftfast.train]

The default run is `seeds.py OUT`; emails are `seeds.py OUT --config emails.yaml --data train.jsonl
--held-out held_out.jsonl` on what split.py makes. OUT/seed-N are the run folders, OUT/table.md what
they say together (bars.py). Started again, it goes on.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from bars import table


def main(out: Path, seeds: int, options: list[str]) -> None:
    folders = [out / f"seed-{seed}" for seed in range(seeds)]
    for seed, folder in enumerate(folders):
        train = [sys.executable, "-m", "dftfast.train", *options]
        subprocess.run([*train, f"--out={folder}", f"--run.seed={seed}"], check=True)
    text = table([str(folder / "results.json") for folder in folders])
    (out / "table.md").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    known, rest = parser.parse_known_args()
    main(known.out, known.seeds, rest)
