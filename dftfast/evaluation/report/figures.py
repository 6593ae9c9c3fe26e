"""Every figure as a strip: the shown systems beside the human level, grouped and sorted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dftfast.evaluation.estimate import Estimate
from dftfast.evaluation.metrics import METRICS
from dftfast.evaluation.report import plots
from dftfast.evaluation.super_baseline import Comparison, Results

# The squares are left out: they say the same as the roots, which are easier to read.
GROUPS = {
    "Content": ("mmd", "mmd_unseen", "frechet", "c2st", "c2st_unseen", "mauve"),
    "Wording": (
        *("mmd_characters", "token_l2_1", "token_l2_2", "token_l2_3", "jsd"),
        *("type_token_ratio", "mtld"),
        *("foreign_script", "chrf", "bleu"),
    ),
    "Style": (
        *("style_mmd", "same_start", "not_but", "em_dash", "typography", "unusual_characters"),
        *("c2st_glyphs", "punctuation", "sentence_length", "sentence_spread", "paragraph_length"),
    ),
    "Length": ("length_mean", "length_sd", "cut_by_length"),
    "Copying": ("repeated_words", "self_bleu", "near_duplicates", "longest_copy", "copied"),
    "The brief": ("length_error", "em_dash_error", "outline_coverage"),
    "Judged": (*(m for m in METRICS if m.startswith("jmq")), "called_human", "trained_judge"),
}


def strips(
    results: Results,
    shown: Sequence[str],
    colours: Mapping[str, str],
    verdicts: Mapping[str, tuple[str, Comparison]],
) -> list[dict]:
    """Of each group its rows, those furthest from the human level first.

    A row has the metric, each shown system's estimate, the human estimate, how far the last system
    is from the human level (in half widths of it; None without one), the strip, and the verdict on
    the candidate where there is one.
    """
    groups = []
    for title, metrics in GROUPS.items():
        rows = [_row(m, results, shown, colours, verdicts) for m in metrics]
        known = sorted(filter(None, rows), key=lambda row: -row["beyond"])
        if known:
            groups.append({"title": title, "rows": known})
    return groups


def _row(
    metric: str,
    results: Results,
    shown: Sequence[str],
    colours: Mapping[str, str],
    verdicts: Mapping[str, tuple[str, Comparison]],
) -> dict | None:
    figures = {name: results[name].get(metric, Estimate()) for name in shown}
    known = {name: f for name, f in figures.items() if f.value is not None}
    if not known:
        return None
    human = next((f for f in reversed(known.values()) if f.human is not None), Estimate())
    drawn = [
        (colours[name], f.value, f.low, f.high) for name, f in known.items() if f.value is not None
    ]
    against, comparison = verdicts.get(metric, ("", None))
    return {
        "metric": metric,
        "figures": known,
        "human": human,
        "beyond": beyond(list(known.values())[-1]),
        "strip": plots.strip(drawn, human_band(human)),
        "against": against,
        "comparison": comparison,
    }


def beyond(f: Estimate) -> float:
    """How far a value is outside the human level, in half widths of it; -1 without a level."""
    if f.value is None or f.human_low is None or f.human_high is None:
        return -1.0
    outside = max(f.human_low - f.value, f.value - f.human_high, 0.0)
    return outside / max((f.human_high - f.human_low) / 2, 1e-12)


def human_band(estimate: Estimate) -> tuple[float, float] | None:
    if estimate.human is None:
        return None
    return (
        estimate.human_low if estimate.human_low is not None else estimate.human,
        estimate.human_high if estimate.human_high is not None else estimate.human,
    )
