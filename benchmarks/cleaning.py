"""How well the rules of `prepare` find boilerplate whose place is known.

    python benchmarks/cleaning.py TEXTS.jsonl [--part tune|test] [--alone] [--docs 300] [--seed 0]

puts lines of boilerplate.txt, in nine languages and filled in at random, into 300 human texts whose
lines are all true. Documents come from pages of 30 sites that repeat some of their lines, or, with
--alone, each is the only one of its source, so that repetition says nothing. Precision is of the
lines that are kept, recall of the boilerplate that is removed; the share of true lines that are
kept, and of documents that lose none, are beside them.
"""

from __future__ import annotations

import argparse
import json
import random
import string
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from dftfast.prepare.lines import LineRules
from dftfast.prepare.piece import Piece, lines_of
from dftfast.prepare.repeated_lines import LineCounts, count, find_repeated
from dftfast.prepare.settings import Settings

NAMES = ("Ann Miller", "José Ruiz", "Lena Schmidt", "P. Novak", "Mei Tanaka", "Omar Haddad")
CITIES = ("York", "Leeds", "Graz", "Lyon", "Austin", "Porto")
HOSTS = ("example.org", "mail.test", "firma.de")
BRANDS = ("Northwind", "Acme Media", "Blue Heron", "Kestrel")


def filled(template: str, rng: random.Random) -> str:
    digits = lambda k: "".join(rng.choices(string.digits, k=k))
    name = rng.choice(NAMES)
    values = {
        "n": str(rng.randint(2, 4000)),
        "d": str(rng.randint(1, 9)),
        "year": str(rng.randint(2005, 2024)),
        "phone": rng.choice(
            [f"+49 30 {digits(7)}", f"(713) 853-{digits(4)}", f"020 7{digits(3)} {digits(4)}"]
        ),
        "mail": f"{name.split()[-1].lower()}@{rng.choice(HOSTS)}",
        "name": name,
        "city": rng.choice(CITIES),
        "brand": rng.choice(BRANDS),
    }
    for slot, value in values.items():
        template = template.replace("{" + slot + "}", value)
    return template


def make_documents(texts: list[str], templates: list[str], alone: bool, rng: random.Random):
    """(source, lines, numbers of the boilerplate lines) of each document."""
    sites = [[filled(t, rng) for t in rng.sample(templates, 4)] for _ in range(30)]
    for number, text in enumerate(texts):
        lines, added = lines_of(text), set()
        site = sites[number % len(sites)]
        inserted = [] if alone else list(site)
        inserted += [filled(t, rng) for t in rng.sample(templates, rng.randint(3, 6))]
        rows = [(line, False) for line in lines]
        for line in inserted:  # most of it stands above and below a text, some within
            place = rng.choice([0, len(rows), rng.randint(0, len(rows))])
            rows.insert(place, (line, True))
        added = {i for i, (_, boilerplate) in enumerate(rows) if boilerplate}
        source = f"page-{number}" if alone else f"site-{number % len(sites)}"
        yield source, [line for line, _ in rows], added


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("texts", type=Path)
    parser.add_argument("--part", default="test", choices=["tune", "test"])
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--docs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=0, help="mistakes to print")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    rows = [json.loads(line) for line in open(options.texts, encoding="utf-8")]
    texts = [row["text"] for row in rng.sample(rows, options.docs)]
    written = (Path(__file__).parent / "boilerplate.txt").read_text(encoding="utf-8")
    lines = [line.split("|", 3) for line in written.splitlines() if not line.startswith("#")]
    templates = [line[3] for line in lines if line[0] == options.part]
    documents = list(make_documents(texts, templates, options.alone, rng))
    report(documents, options)


def report(documents: list, options: argparse.Namespace) -> None:
    pieces = [
        Piece(i, source, f"{source}/{i}", "\n".join(lines))
        for i, (source, lines, _) in enumerate(documents)
    ]
    with TemporaryDirectory() as folder:
        list(count(pieces, LineCounts(Path(folder))))
        rules = LineRules(Settings(), find_repeated(Path(folder)))
    kept_true = kept_false = removed_true = removed_false = whole = 0
    wrong, missed = Counter(), Counter()
    for piece, (_, lines, added) in zip(pieces, documents):
        removed = rules.removed(piece)
        whole += not (removed.keys() - added)
        for i, line in enumerate(lines):
            if not line.strip():
                continue
            if i in added:
                removed_true += i in removed
                kept_false += i not in removed
                missed[line] += i not in removed
            else:
                kept_true += i not in removed
                removed_false += i in removed
                if i in removed:
                    wrong[f"{removed[i]}: {line[:90]}"] += 1
    print(
        f"part {options.part}, {'alone' if options.alone else 'sites'}, {len(documents)} documents"
    )
    print(f"precision of kept lines   {kept_true / (kept_true + kept_false):.3f}")
    print(f"recall of removed lines   {removed_true / (removed_true + kept_false):.3f}")
    print(f"true lines kept           {kept_true / (kept_true + removed_false):.4f}")
    print(f"documents without a loss  {whole / len(documents):.3f}")
    for title, found in (("removed wrongly", wrong), ("missed", missed)):
        if options.show:
            print(
                title,
                *(f"  {n} {line}" for line, n in (+found).most_common(options.show)),
                sep="\n",
            )


if __name__ == "__main__":
    main()
