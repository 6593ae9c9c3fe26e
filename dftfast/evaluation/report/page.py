"""What the report says, put together from estimates and texts."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

from dftfast.evaluation.draws import draws_text
from dftfast.evaluation.estimate import Estimate
from dftfast.evaluation.headline import against_baselines, answer, nearest_first
from dftfast.evaluation.metrics import METRICS
from dftfast.evaluation.outcome import find
from dftfast.evaluation.reference import Reference
from dftfast.evaluation.report import plots
from dftfast.evaluation.report.assessor_tables import detector_tables, judge_tables
from dftfast.evaluation.report.blend_table import blend_table
from dftfast.evaluation.report.curves import GROUP_FIGURES, PHASE_FIGURES, phases, training_curves
from dftfast.evaluation.report.figures import strips
from dftfast.evaluation.report.names import numbers, sampler_of
from dftfast.evaluation.report.report_context import ReportContext
from dftfast.evaluation.report.shown_samples import embedding_map, side_by_side
from dftfast.evaluation.report.sweep import data_effect, sweep_plots
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
    *("mmd", "mmd_unseen", "mmd_characters", *L2, "jsd", "style_mmd", "frechet", "c2st"),
    *("c2st_unseen", "jmq", "trained_judge"),
    *("called_human", "mauve", "self_bleu", "near_duplicates", "same_start", "foreign_script"),
)
PAIRED = ("mmd", "token_l2_1", "c2st", "self_bleu")
BY_DATA = ("mmd", "mmd_unseen", *L2, "c2st", "self_bleu", "jmq")
FEW = 12  # systems that have a row each in every table
SHOWN = 3  # systems whose tables and texts are on the page


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
            name: numbers(context.samplers.get(name) or sampler_of(name)) for name in results
        }
        self.baselines = super_baseline_systems(results, candidate)
        self.best = super_baseline(self.baselines)
        self.verdicts = verdicts(results, candidate) if candidate else {}
        self.shown = self._shown()
        self.judges, self.detectors = context.judges, context.detectors
        self.reference = context.reference or Reference(generations["human"])
        self.findings = context.findings or find(
            results, generations, self.reference, context.token_name
        )
        self.notes, self.ends = list(context.notes), context.ends
        self.colours = {"human": "var(--human)"} | {
            name: "var(--ours)" if name == (candidate or self.shown[0]) else f"var(--s{k % 6})"
            for k, name in enumerate(self.shown)
        }

    def _shown(self) -> list[str]:
        """Systems for strips, samples, slop and the map.

        The best baseline by MMD (or token L2) and the candidate; without a candidate the nearest.
        """
        if not self.candidate:
            return [n for n in nearest_first(self.results) if n in self.generations][:SHOWN]
        best = next((self.best[m][0] for m in ("mmd", "token_l2_1") if m in self.best), None)
        names = [best or next(iter(self.baselines), None), self.candidate]
        return [n for n in names if n is not None and n in self.generations]

    def variables(self, folder: Path, samples: int, map_points: int) -> dict:
        slop = {name: self.findings[name].slop for name in self.shown}
        phrases = {name: each.phrases for name, each in slop.items()}
        first = self.candidate or self.shown[0]
        return {
            "metrics": METRICS,
            "results": self.results,
            "candidate": self.candidate,
            "first": first,
            "baselines": self.baselines,
            "prompts": len(self.generations["human"]),
            "systems": len(self.results),
            "draws": draws_text(self.results),
            "shown": self.shown,
            "colours": self.colours,
            "headline": answer(self.findings, self.candidate),
            "lead": against_baselines(self.results, self.candidate, MAIN),
            "findings": self.findings,
            "finding": self.findings[first],
            "order": nearest_first(self.results),
            "notes": self.notes,
            "groups": strips(self.results, self.shown, self.colours, self.verdicts),
            "told": self._told(),
            "judges": judge_tables(self.judges, self._few()),
            "detectors": detector_tables(self.detectors, self._few()),
            "judge_records": self.judges,
            "detector_records": self.detectors,
            "verdict": self._verdict(),
            "pairs": self._pairs(),
            "rows": self._rows(),
            "all": self._all(),
            "slop": slop,
            "lengths": self._lengths(),
            "sweep": sweep_plots(self.results, self.baselines, self.samplers, self.candidate),
            "data_effect": data_effect(self.baselines, BY_DATA),
            "samples": side_by_side(self.shown, self.generations, phrases, samples, first),
            "map": embedding_map(self.shown[-2:], self.generations, map_points, self.colours),
            "training": training_curves(folder / "log.jsonl"),
            "phases": phases(folder / "dft" / "phases.json"),
            "phase_figures": list(PHASE_FIGURES),
            "group_figures": list(GROUP_FIGURES),
            "blend": self._blend(),
        }

    def _blend(self) -> dict | None:
        """Where the human texts, the systems that are shown and few others lie in a blend."""
        names = [n for n in dict.fromkeys(["human", *reversed(self.shown), *self._few()])]
        return blend_table(
            self.ends,
            {n: self.generations[n] for n in names if n in self.generations},
            self.colours,
        )

    def _few(self) -> list[str]:
        """Systems for tables of a row each, the candidate first.

        All of few systems, else those that are shown in detail.
        """
        names = [name for name in self.results if len(self.results) <= FEW or name in self.shown]
        return sorted(names, key=lambda name: name != self.candidate)

    def _told(self) -> list[dict]:
        """The adjusted p of each test of each system, the candidate first, then the nearest."""
        order = sorted(nearest_first(self.results), key=lambda name: name != self.candidate)
        tests = [
            m for m in METRICS if any(m in self.findings[n].told.figures for n in self.findings)
        ]
        return [
            {
                "name": name,
                "told": self.findings[name].told.told,
                "p": {m: self.findings[name].told.figures.get(m) for m in tests},
                "phrases": self.findings[name].told.phrases,
            }
            for name in order
            if name in self.findings
        ]

    def _verdict(self) -> list[dict]:
        if self.candidate is None:
            return []
        return [
            {
                "metric": metric,
                "against": self.verdicts[metric][0],
                "ours": self.results[self.candidate][metric],
                "theirs": self.best[metric][1],
                "comparison": self.verdicts[metric][1],
            }
            for metric in MAIN
            if metric in self.verdicts
        ]

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
                name: slop.lengths[k]
                for name in self.shown
                if (slop := self.findings[name].slop).lengths[k].edges
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
