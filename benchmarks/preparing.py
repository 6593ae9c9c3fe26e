"""Time and memory of `prepare` by rules, beside datatrove's own blocks for the same filters.

    python benchmarks/preparing.py FOLDER [--docs 10000] [--words 300] [--texts TEXTS.jsonl]

writes documents of about that many words into FOLDER (sentences of the texts, shuffled, within a
site's frame) and runs `dftfast prepare` on them in a process of its own. Where datatrove and the
tokenizers of its blocks are installed (`pip install 'datatrove[io,processing]' spacy`), its JSONL
reader, C4, Gopher and FineWeb filters and MinHash run on the same texts, in one process as well.
Memory is the largest resident set of the process. What each of them does besides differs: datatrove
finds no language, no repeated lines and writes no briefs here; `prepare` splits no sentences of C4.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

FRAME = "Home | About | Contact\nShare on Facebook"
DATATROVE = """
import sys
from pathlib import Path
from datatrove.executor import LocalPipelineExecutor as Run
from datatrove.pipeline.dedup import MinhashDedupSignature, MinhashDedupBuckets
from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter
from datatrove.pipeline.filters import C4QualityFilter, FineWebQualityFilter
from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
work = sys.argv[1]
filters = [C4QualityFilter(filter_no_terminal_punct=False), GopherRepetitionFilter(),
           GopherQualityFilter(min_doc_words=20), FineWebQualityFilter()]
def run(name, *steps, tasks=1):
    Run(list(steps), tasks=tasks, logging_dir=f"{work}/log-{name}").run()
run("read", JsonlReader(f"{work}/in"), *filters, JsonlWriter(f"{work}/kept"))
run("sign", JsonlReader(f"{work}/kept"), MinhashDedupSignature(f"{work}/signatures"))
run("pair", MinhashDedupBuckets(f"{work}/signatures", f"{work}/buckets"), tasks=14)
run("group", MinhashDedupCluster(f"{work}/buckets", f"{work}/groups"))
run("write", JsonlReader(f"{work}/kept"), MinhashDedupFilter(f"{work}/groups"),
    JsonlWriter(f"{work}/out"))
"""


def write_documents(folder: Path, options: argparse.Namespace) -> None:
    rng = random.Random(0)
    rows = (json.loads(line) for line in open(options.texts, encoding="utf-8"))
    lines = [line for row in rows for line in row["text"].split("\n") if line.strip()]
    (folder / "in").mkdir(parents=True)
    with open(folder / "in" / "docs.jsonl", "w", encoding="utf-8") as file:
        for i in range(options.docs):
            chosen: list[str] = []
            while sum(len(line.split()) for line in chosen) < options.words:
                chosen.append(rng.choice(lines))
            text = "\n".join([FRAME, *chosen])
            file.write(json.dumps({"id": str(i), "text": text}) + "\n")


def measured(*command: str) -> str:
    """Seconds, those of its processor, and the largest resident set of all children so far."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
    computed = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return f"{seconds:6.1f} s, {computed:6.1f} s of a core, {after.ru_maxrss / 2**20:.2f} GB"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--docs", type=int, default=10_000)
    parser.add_argument("--words", type=int, default=300)
    parser.add_argument("--texts", required=True)
    parser.add_argument("--datatrove", action="store_true", help="run datatrove's blocks, too")
    options = parser.parse_args()
    write_documents(options.folder, options)
    source = str(options.folder / "in")
    out = options.folder / "prepared" / "corpus.jsonl"
    used = measured("-m", "dftfast.prepare", source, "--out", str(out))
    rows = sum(1 for _ in open(out, encoding="utf-8"))
    print(f"{options.docs} documents of about {options.words} words, one process")
    print(f"prepare    {used}, {rows} rows")
    if options.datatrove:
        print(f"datatrove  {measured('-c', DATATROVE, str(options.folder))} (the larger of both)")


if __name__ == "__main__":
    main()
