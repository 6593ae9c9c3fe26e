"""What judges and detectors say, as the report shows it."""

from __future__ import annotations

from collections.abc import Sequence

from dftfast.evaluation.estimate import Estimate
from dftfast.evaluation.metrics import METRICS


def judge_tables(records: Sequence[dict], shown: Sequence[str]) -> list[dict]:
    """For each judge its questions, the estimates of the shown systems, and how it was asked.

    Args:
        records: what each judge says (`judge.judge_record`).
        shown: systems that have a row.
    """
    return [
        {
            "name": r["name"],
            "model": r["model"],
            "where": r["where"],
            "facts": judge_facts(r),
            "questions": [
                m for m in METRICS if any(m in s["figures"] for s in r["systems"].values())
            ],
            "rows": [
                {
                    "name": name,
                    "figures": {m: Estimate(**f) for m, f in r["systems"][name]["figures"].items()},
                }
                for name in shown
                if name in r["systems"]
            ],
        }
        for r in records
    ]


def judge_facts(record: dict) -> list[str]:
    """How a judge was asked and what it took, a sentence each."""
    verdicts = sum(n for s in record["systems"].values() for n in s["verdicts"].values())
    facts = [
        f"{verdicts:,} verdicts; each pair was shown "
        + ("in both orders." if record["both_orders"] else "in one order, by seed.")
    ]
    if record["first"] is not None:
        facts.append(
            f"The text shown first was chosen in {100 * record['first']:.0f}% of the answers."
        )
    if record["agreement"] is not None:
        facts.append(
            f"Both orders had the same winner for {100 * record['agreement']:.0f}% of the pairs."
        )
    if record["longer"] is not None:
        facts.append(
            f"Of pairs of unequal length the longer text won {100 * record['longer']:.0f}%."
        )
    if record["other_prompts"] is not None:
        jmq = Estimate(**record["other_prompts"]["figures"]["jmq"])
        facts.append(
            f"Human texts of other prompts have a JMQ of {METRICS['jmq'].format(jmq.value)}: well "
            "below 1 where it reads the prompt."
        )
    facts.append(
        f"{record['malformed']:,} malformed answers, {record['unanswered']:,} questions without a "
        "verdict."
    )
    if (calls := record["calls"]) is not None:
        cost = (
            f", ${calls['cost']:.2f} in all and ${calls['spent']:.2f} in this run"
            if calls["cost"] or calls["spent"]
            else ""
        )
        facts.append(
            f"{calls['prompt_tokens']:,} tokens in, {calls['completion_tokens']:,} out{cost}; "
            f"{calls['retries']:,} retries"
            + ("; the cap on spend ended it." if calls["capped"] else ".")
        )
    return facts


def detector_tables(records: Sequence[dict], shown: Sequence[str]) -> list[dict]:
    """For each detector the share of human texts and of each shown system's that it calls human.

    Args:
        records: what each detector says (`detectors.detector_record`).
        shown: systems that have a row.
    """
    tables = []
    for r in records:
        rows = [
            {"name": name, **r["systems"][name], "figure": Estimate(**r["systems"][name]["figure"])}
            for name in shown
            if name in r["systems"]
        ]
        human = next((row["figure"] for row in rows if row["figure"].human is not None), Estimate())
        tables.append(
            {
                "name": r["name"],
                "about": r["about"],
                "rows": rows,
                "human_mean": r["human_mean"],
                "unanswered": sum(row["texts"] - row["answers"] for row in rows),
                "human": Estimate(human.human, human.human_low, human.human_high),
            }
        )
    return tables
