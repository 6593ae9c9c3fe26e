"""What `dftfast check` costs, and how many human texts fail it.

python benchmarks/checking.py train.jsonl held_out.jsonl

Rules are fitted to the first corpus. Of the second the shares of texts are printed in which each
rule finds something, and seconds of one core for 1,000 texts of 200 words made of it.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from itertools import cycle, islice
from pathlib import Path
from time import process_time

from dftfast.data import load_corpus
from dftfast.writing import check, fit_rules, load_rules, save_rules


def main(train: str, held_out: str) -> None:
    start = process_time()
    fitted = fit_rules(load_corpus([train]))
    print(f"fitting: {process_time() - start:.1f} s")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "writing.yaml"
        save_rules(path, fitted.rules, {})
        rules = load_rules(path)
    documents = load_corpus([held_out])
    found = [check(document.text, rules, document) for document in documents]
    failed = Counter(name for each in found for name in {f.rule for f in each})
    failed["any error"] = sum(any(f.severity == "error" for f in each) for each in found)
    print(f"of {len(documents)} texts, of {fitted.texts} texts of the corpus itself:")
    for name, rate in {**fitted.rates, "any error": fitted.errors}.items():
        print(f"  {name:<20}{failed[name] / len(documents):7.2%}{rate:7.2%}")
    words = cycle(" ".join(document.text for document in documents).split(" "))
    texts = [" ".join(islice(words, 200)) for _ in range(1000)]
    start = process_time()
    for text in texts:
        check(text, rules)
    print(f"1,000 texts of 200 words: {process_time() - start:.2f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
