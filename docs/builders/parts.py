"""Every file that is made of something else, or has a part that is."""

from __future__ import annotations

import re
from pathlib import Path

from builders.error_messages import messages_page
from builders.first_run import first_run
from builders.plans import plan_block
from builders.run_cards import run_cards, runs_page
from builders.speed import speed_chart, speed_table
from builders.writing_rules import rules_block


def built(root: Path) -> dict[Path, str]:
    """Path -> content of every file that is made or has a part that is made."""
    docs, results = root / "docs", root / "benchmarks" / "results"
    cards = run_cards(results)
    parts = {
        root / "README.md": first_run(cards),
        docs / "troubleshooting.md": messages_page(root / "dftfast"),
        docs / "check.md": rules_block(),
        docs / "results.md": runs_page(cards),
        docs / "scaling.md": plan_block(),
        docs / "kernels" / "README.md": speed_table(results / "h100" / "gpu.json"),
    }
    files = {
        page: with_part(page.read_text(encoding="utf-8"), part) for page, part in parts.items()
    }
    files[docs / "figures" / "kernels-h100.svg"] = speed_chart(results / "h100" / "gpu.json")
    return files | {docs / "figures" / f"{card.name}.svg": card.chart() for card in cards}


def with_part(page: str, part: str) -> str:
    """The page with `part` between its two marks."""
    mark = r"(<!-- made by docs/build.py -->\n).*?(<!-- end -->)"
    found, count = re.subn(mark, lambda m: f"{m[1]}\n{part}\n{m[2]}", page, flags=re.DOTALL)
    assert count == 1, "a page has one part that is made"
    return found


def stale(root: Path) -> list[Path]:
    """Files that are not as they would be written."""
    old = lambda path: path.read_text(encoding="utf-8") if path.exists() else None
    return [path for path, content in built(root).items() if old(path) != content]
