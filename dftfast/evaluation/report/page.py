"""What the report says, put together from estimates and texts."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

from dftfast.evaluation.draws import draws_text
from dftfast.evaluation.estimate import Estimate
from dftfast.evaluation.metrics import METRICS
from dftfast.evaluation.reference import Reference
from dftfast.evaluation.report import plots
from dftfast.evaluation.report.assessor_tables import detector_tables, judge_tables
from dftfast.evaluation.report.curves import PHASE_FIGURES, phases, training_curves
from dftfast.evaluation.report.names import sampler_of
from dftfast.evaluation.report.report_context import ReportContext
from dftfast.evaluation.report.shown_samples import embedding_map, side_by_side
from dftfast.evaluation.report.sweep import data_effect, human_band, sweep_plots
from dftfast.evaluation.slop.analysis import Slop, analyse
from dftfast.evaluation.super_baseline import (
    Results,
    compare,
    super_baseline,
    super_baseline_systems,
    verdicts,
)
from dftfast.evaluation.textset import TextSet

L2 = ("token_l2_1", "token_l2_2", "token_l2_3")
MAIN = (  # what the verdict counts
    *("mmd", "mmd_unseen", *L2, "jsd", "style_mmd", "frechet", "c2st", "c2st_unseen", "jmq"),
    *("called_human", "mauve", "self_bleu", "near_duplicates", "same_start", "foreign_script"),
)
TESTED = ("mmd", "mmd_unseen", *L2, "style_mmd")
PAIRED = ("mmd", "token_l2_1", "c2st", "self_bleu")
BY_DATA = ("mmd", "mmd_unseen", *L2, "c2st", "self_bleu", "jmq")
SIGNIFICANT = 0.05
FEW = 12  # systems that have a row each in every table


class Page:
    """Everything the templates show, as `variables` of theirs."""

    def __init__(
        self,
        results: Results,
        generations: Mapping[str, TextSet],
        candidate: str | None,
        context: ReportContext,
    ):
        self.results, self.generations, self.candidate = results, generations, candidate
        self.samplers = {
            name: dict(context.samplers.get(name) or sampler_of(name)) for name in results
        }
        self.baselines = super_baseline_systems(results, candidate)
        self.best = super_baseline(self.baselines)
        self.verdicts = verdicts(results, candidate) if candidate else {}
        self.shown = self._shown()
        self.judges, self.detectors = context.judges, context.detectors
        reference = context.reference or Reference(generations["human"])
        self.slop: dict[str, Slop] = {
            name: analyse(generations[name], reference, context.token_name) for name in self.shown
        }

    def _shown(self) -> list[str]:
        """Systems for samples, slop and the map.

        These are the best baselines by MMD and token L2, then the candidate.
        """
        names = [self.best[m][0] for m in ("mmd", "token_l2_1") if m in self.best]
        names = names or list(self.baselines)[:2]
        if not self.candidate:
            names = [*names, *self.baselines]
        names = list(dict.fromkeys(names))[: 3 if not self.candidate else 2]
        return [n for n in [*names, self.candidate] if n is not None and n in self.generations]

    def variables(self, folder: Path, samples: int, map_points: int) -> dict:
        phrases = {name: slop.phrases for name, slop in self.slop.items()}
        return {
            "metrics": METRICS,
            "results": self.results,
            "candidate": self.candidate,
            "baselines": self.baselines,
            "prompts": len(self.generations["human"]),
            "systems": len(self.results),
            "draws": draws_text(self.results),
            "shown": self.shown,
            "headline": self._headline(),
            "told": self._told(),
            "judges": judge_tables(self.judges, self._few()),
            "detectors": detector_tables(self.detectors, self._few()),
            "judge_records": self.judges,
            "detector_records": self.detectors,
            "verdict": self._verdict(),
            "pairs": self._pairs(),
            "rows": self._rows(),
            "all": self._all(),
            "slop": self.slop,
            "lengths": self._lengths(),
            "sweep": sweep_plots(self.results, self.baselines, self.samplers, self.candidate),
            "data_effect": data_effect(self.baselines, BY_DATA),
            "samples": side_by_side(self.shown, self.generations, phrases, samples),
            "map": embedding_map(self.shown[-2:], self.generations, map_points),
            "training": training_curves(folder / "log.jsonl"),
            "phases": phases(folder / "dft" / "phases.json"),
            "phase_figures": list(PHASE_FIGURES),
        }

    def _few(self) -> list[str]:
        """Systems for tables of a row each, the candidate first.

        All of few systems, else those that are shown in detail.
        """
        names = [name for name in self.results if len(self.results) <= FEW or name in self.shown]
        return sorted(names, key=lambda name: name != self.candidate)

    def _headline(self) -> str:
        if not self.candidate:
            told = [row for row in self._told() if row["told"]]
            return (
                f"{len(told)} of {len(self.results)} "
                + ("sets of texts" if len(self.results) > 1 else "set of texts")
                + " can be told from the human texts (p < 0.05 by MMD or token frequencies)."
            )
        counted = [c.verdict for m, (_, c) in self.verdicts.items() if m in MAIN]
        n = {v: counted.count(v) for v in ("better", "level", "worse")}
        return (
            f"{self.candidate} is better than the best of {len(self.baselines)} baselines on "
            f"{n['better']} of {len(counted)} metrics, level on {n['level']}, "
            f"worse on {n['worse']}."
        )

    def _told(self) -> list[dict]:
        """p of the permutation tests of each system, the candidate first.

        `told` says whether MMD or single tokens give it away.
        """
        order = sorted(
            self.results, key=lambda name: (name != self.candidate, name not in self.shown)
        )
        tests = [
            m
            for m in TESTED
            if any(self.results[n].get(m, Estimate()).p is not None for n in order)
        ]
        rows = []
        for name in order:
            p = {m: self.results[name].get(m, Estimate()).p for m in tests}
            decisive = [p.get(m) for m in ("mmd", "token_l2_1")]
            told = any(each is not None and each < SIGNIFICANT for each in decisive)
            rows.append({"name": name, "p": p, "told": told})
        return rows

    def _verdict(self) -> list[dict]:
        if self.candidate is None:
            return []
        rows = []
        for metric in MAIN:
            if metric not in self.verdicts:
                continue
            name, comparison = self.verdicts[metric]
            ours, theirs = self.results[self.candidate][metric], self.best[metric][1]
            assert ours.value is not None and theirs.value is not None  # they were compared
            strip = plots.strip(
                [
                    ("baseline", theirs.value, theirs.low, theirs.high),
                    ("ours", ours.value, ours.low, ours.high),
                ],
                human_band(ours),
            )
            rows.append(
                {
                    "metric": metric,
                    "against": name,
                    "ours": ours,
                    "theirs": theirs,
                    "comparison": comparison,
                    "strip": strip,
                }
            )
        return rows

    def _pairs(self) -> list[dict]:
        """Paired comparisons: the candidate with every other system, or every two of few."""
        if self.candidate:
            pairs = [(self.candidate, name) for name in self.results if name != self.candidate]
        else:
            pairs = list(combinations(self.results, 2)) if len(self.results) <= 5 else []
        rows = []
        for a, b in pairs:
            comparisons = {
                m: compare(m, self.results[a][m], self.results[b][m])
                for m in PAIRED
                if m in self.results[a] and m in self.results[b]
            }
            rows.append(
                {
                    "first": a,
                    "second": b,
                    "comparisons": {m: c for m, c in comparisons.items() if c is not None},
                }
            )
        return rows

    def _rows(self) -> list[dict]:
        """Every metric that someone has: best baseline, candidate, human estimate."""
        rows = []
        for metric in self._all():
            known = [
                f[metric]
                for f in self.results.values()
                if metric in f and f[metric].value is not None
            ]
            human = next((f for f in known if f.human is not None), Estimate())
            ours = self.results[self.candidate].get(metric, Estimate()) if self.candidate else None
            rows.append(
                {"metric": metric, "human": human, "best": self.best.get(metric), "ours": ours}
            )
        return rows

    def _all(self) -> list[str]:
        return [
            m
            for m in METRICS
            if any(m in f and f[m].value is not None for f in self.results.values())
        ]

    def _lengths(self) -> list[dict]:
        """A plot of sentence lengths and one of paragraph lengths.

        Human first, then each shown system.
        """
        out = []
        for k, kind in enumerate(("sentence", "paragraph")):
            lengths = {
                name: slop.lengths[k] for name, slop in self.slop.items() if slop.lengths[k].edges
            }
            if lengths:
                rows = [
                    ("human", next(iter(lengths.values())).human),
                    *((name, f.outputs) for name, f in lengths.items()),
                ]
                last = list(lengths.values())[-1]  # the candidate where there is one
                svg = plots.histogram(
                    last.edges,
                    {"human": last.human_shares, "ours": last.outputs_shares},
                    x_title=f"words in a {kind}",
                    title=f"Words in a {kind}",
                )
                out.append({"kind": kind, "rows": rows, "svg": svg, "name": list(lengths)[-1]})
        return out
