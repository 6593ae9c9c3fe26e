"""What `dftfast check` costs, and how many texts of people and of a model fail it.

python benchmarks/checking.py train.jsonl held_out.jsonl [generations.jsonl] [--grammar]

Rules are fitted to the first corpus. Of the second, and of a model's answers to its briefs, the
shares of texts are printed in which each rule finds something, and seconds of one core for 1,000
texts of 200 words made of it.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from time import process_time

from dftfast.data import Document, load_corpus
from dftfast.data.generations import read_draws
from dftfast.writing import check, fit_rules, load_rules, save_rules
from dftfast.writing.rule import Rule


def main(train: str, held_out: str, *more: str) -> None:
    answers, grammar = [each for each in more if each != "--grammar"], "--grammar" in more
    start = process_time()
    fitted = fit_rules(load_corpus([train]), grammar=grammar)
    print(f"fitting: {process_time() - start:.1f} s")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "writing.yaml"
        save_rules(path, fitted.rules, {})
        rules = load_rules(path)
    documents = load_corpus([held_out])
    briefs = {document.id: document for document in documents}
    sets = {"held out": [(document.text, document) for document in documents]}
    for path in answers:
        rows = [row for draw in read_draws(path) for row in draw]
        sets[Path(path).stem] = [(row["text"], briefs.get(row["id"])) for row in rows]
    columns = {name: shares(texts, rules) for name, texts in sets.items()}
    columns["corpus"] = {**fitted.rates, "any error": fitted.errors, "texts": fitted.texts}
    print(f"{'':<20}" + "".join(f"{name:>14}" for name in columns))
    for name in ["texts", *(rule.name for rule in rules), "any error", "any finding"]:
        values = [column.get(name, 0) for column in columns.values()]
        shown = [str(value) if name == "texts" else f"{value:.2%}" for value in values]
        print(f"{name:<20}" + "".join(f"{value:>14}" for value in shown))
    words = cycle(" ".join(document.text for document in documents).split(" "))
    texts = [" ".join(islice(words, 200)) for _ in range(1000)]
    start = process_time()
    for text in texts:
        check(text, rules)
    print(f"1,000 texts of 200 words: {process_time() - start:.2f} s")


def shares(texts: Sequence[tuple[str, Document | None]], rules: Sequence[Rule]) -> dict[str, float]:
    """Of the texts, each with its brief, the shares in which each rule finds something."""
    found = [check(text, rules, brief) for text, brief in texts]
    failed = Counter(name for each in found for name in {f.rule for f in each})
    failed["any error"] = sum(any(f.severity == "error" for f in each) for each in found)
    failed["any finding"] = sum(map(bool, found))
    return {name: count / len(texts) for name, count in failed.items()} | {"texts": len(texts)}


if __name__ == "__main__":
    main(*sys.argv[1:])
