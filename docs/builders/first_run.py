"""What the README says of the default run: a table, and how many figures are better and worse."""

from __future__ import annotations

from builders.run_cards import Row, RunCard

from dftfast.evaluation.metrics import METRICS
from dftfast.evaluation.report.page import MAIN

NAMES = {
    "style_mmd": "style MMD",
    "mmd2": "MMD², embedder that training follows",
    "mmd2_unseen": "MMD², embedder that training never sees",
    "token_sq_1": "token frequencies, squared L2",
    "token_sq_2": "pairs of tokens",
    "c2st_unseen": "told by a classifier, unseen embedder",
    "c2st": "told by a classifier",
    "self_bleu": "self-BLEU: how alike the texts are",
    "length_mean": "words a text",
}
NUMBERS = {1: "One seed", 2: "Two seeds", 3: "Three seeds"}


def first_run(cards: list[RunCard], name: str = "docstrings") -> str:
    """The block of the README, of the run in the folder `name`."""
    card = next(card for card in cards if card.name == name)
    rows = {row.metric: row for row in card.rows}
    how_many = len(card.rows[0].seeds)
    lines = [
        f"{NUMBERS.get(how_many, f'{how_many} seeds')} of everything, {card.about['prompts']} "
        f"held-out prompts, {card.about['draws']} answers to each by every system:\n",
        "| | best SFT | DFT | human | left | seeds better, level, worse |",
        "|---|---|---|---|---|---|",
        *(_line(rows[metric], title) for metric, title in NAMES.items() if metric in rows),
        "",
        _verdicts(card),
    ]
    return "\n".join([*lines, ""])


def _line(row: Row, title: str) -> str:
    m = METRICS[row.metric]
    counts = " / ".join(str(row.verdicts.count(word)) for word in ("better", "level", "worse"))
    values = (m.format(row.best), m.format(row.mean), m.format(row.human))
    return "| " + " | ".join((title, *values, row.left_text(), counts)) + " |"


def _verdicts(card: RunCard) -> str:
    counted = [[seed[metric] for metric in seed if metric in MAIN] for seed in card.verdicts]
    better, level, worse = (
        _listed([verdicts.count(word) for verdicts in counted])
        for word in ("better", "level", "worse")
    )
    return (
        f"Of the {len(counted[0])} [main figures](docs/metrics.md#intervals-and-tests) the seeds "
        f"are better on {better}, level on {level} and worse on {worse}."
    )


def _listed(numbers: list[int]) -> str:
    words = list(map(str, numbers))
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
