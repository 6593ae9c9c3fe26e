"""What to look at first in a prepared corpus, from its counts."""

from __future__ import annotations

from dftfast.prepare.tally import Tally

_MUCH = 0.1  # of the documents: more than this by one rule is worth a look


def findings(tally: Tally) -> list[str]:
    """Sentences, the most telling first; never empty."""
    found = []
    failed = sum(tally.skipped.values())
    if failed > _MUCH * (tally.read + failed):
        reason, number = tally.skipped.most_common(1)[0]
        found.append(
            f"{failed} files or documents were not read, most of them: {reason} ({number})."
        )
    for rule, number in tally.left_out.most_common():
        if number > _MUCH * tally.read:
            found.append(
                f"The rule {rule!r} left out {number / tally.read:.0%} of the documents. If those "
                f"in removed.jsonl are writing that you want, add --without {rule}."
            )
    if tally.duplicates > _MUCH * tally.read:
        found.append(
            f"{tally.duplicates / tally.read:.0%} of the documents repeat another: see Duplicates."
        )
    if tally.touched > 0.5 * tally.read and tally.lines:
        rule, number = tally.lines.most_common(1)[0]
        found.append(
            f"{tally.touched / tally.read:.0%} of the documents lost lines, most by the rule "
            f"{rule!r} ({number} lines): read the first few under Removed."
        )
    asked = sum(tally.model.values())
    fallen = sum(n for what, n in tally.model.items() if what.endswith("by rules"))
    if asked and fallen > 0.05 * tally.rows:
        found.append(f"{fallen} answers of the model could not be used: see Model.")
    if len(tally.languages) > 1:
        main, number = tally.languages.most_common(1)[0]
        if number < (1 - _MUCH) * tally.rows:
            found.append(
                f"Only {number / tally.rows:.0%} of the rows are in {main}. One model of one "
                f"voice wants one language: --languages {main}."
            )
    if tally.quantile(0.5) < 50:
        found.append("Half of the rows have fewer than 50 words: a model will learn to be brief.")
    if tally.rows < 500:
        found.append(f"{tally.rows} rows are few: expect wide intervals in the report of a run.")
    return found or ["Nothing stands out. Read a few rows under Rows, then train."]
