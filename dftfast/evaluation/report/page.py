"""What the report says, put together from figures and texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from dftfast.evaluation.estimate import Estimate
from dftfast.evaluation.metrics import METRICS
from dftfast.evaluation.reference import Reference
from dftfast.evaluation.report import plots
from dftfast.evaluation.report.assessor_tables import detector_tables, judge_tables
from dftfast.evaluation.report.curves import PHASE_FIGURES, phases, training_curves
from dftfast.evaluation.report.names import sampler_of
from dftfast.evaluation.report.shown_samples import embedding_map, side_by_side
from dftfast.evaluation.report.sweep import data_effect, human_band, sweep_plots
from dftfast.evaluation.slop.analysis import Slop, analyse
from dftfast.evaluation.super_baseline import Results, baselines, compare, super_baseline, verdicts
from dftfast.evaluation.textset import TextSet

MAIN = (
    "mmd",
    "mmd_unseen",
    "token_l2_1",
    "token_l2_2",
    "token_l2_3",
    "jsd",
    "style_mmd",
    "frechet",
    "c2st",
    "c2st_unseen",
    "jmq",
    "called_human",
    "mauve",
    "self_bleu",
    "near_duplicates",
    "same_start",
    "foreign_script",
)  # what the verdict counts
TESTED = ("mmd", "mmd_unseen", "token_l2_1", "token_l2_2", "token_l2_3", "style_mmd")
PAIRED = ("mmd", "token_l2_1", "c2st", "self_bleu")
BY_DATA = (
    "mmd",
    "mmd_unseen",
    "token_l2_1",
    "token_l2_2",
    "token_l2_3",
    "c2st",
    "self_bleu",
    "jmq",
)
SIGNIFICANT = 0.05
FEW = 12  # systems that have a row each in every table


class Page:
    """Everything the templates show, as attributes of `context`."""

    def __init__(
        self,
        results: Results,
        generations: Mapping[str, TextSet],
        candidate: str | None,
        samplers: Mapping[str, Mapping],
        reference: Reference | None,
        token_name: Callable[[int], str],
        judges: Sequence[dict] = (),
        detectors: Sequence[dict] = (),
    ):
        self.results, self.generations, self.candidate = results, generations, candidate
        self.samplers = {name: dict(samplers.get(name) or sampler_of(name)) for name in results}
        self.baselines = baselines(results, candidate)
        self.best = super_baseline(self.baselines)
        self.verdicts = verdicts(results, candidate) if candidate else {}
        self.shown = self._shown()
        self.judges, self.detectors = judges, detectors
        reference = reference or Reference(generations["human"])
        self.slop: dict[str, Slop] = {
            name: analyse(generations[name], reference, token_name) for name in self.shown
        }

    def _shown(self) -> list[str]:
        """Systems for samples, slop and the map: best baselines by MMD and token L2, then the candidate."""
        names = [self.best[m][0] for m in ("mmd", "token_l2_1") if m in self.best]
        names = names or list(self.baselines)[:2]
        if not self.candidate:
            names = [*names, *self.baselines]
        names = list(dict.fromkeys(names))[: 3 if not self.candidate else 2]
        return [n for n in [*names, self.candidate] if n in self.generations]

    def context(self, folder: Path, samples: int, map_points: int) -> dict:
        phrases = {name: slop.phrases for name, slop in self.slop.items()}
        return {
            "metrics": METRICS,
            "results": self.results,
            "candidate": self.candidate,
            "baselines": self.baselines,
            "prompts": len(self.generations["human"]),
            "systems": len(self.results),
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
        """Systems for tables of a row each: all of few, else those that are shown in detail; the candidate first."""
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
            f"{self.candidate} is better than the best of {len(self.baselines)} baselines on {n['better']} of {len(counted)} "
            f"metrics, level on {n['level']}, worse on {n['worse']}."
        )

    def _told(self) -> list[dict]:
        """p of the permutation tests of each system, the candidate first; `told`: whether MMD or single tokens give it away."""
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
            told = any(p.get(m) is not None and p[m] < SIGNIFICANT for m in ("mmd", "token_l2_1"))
            rows.append({"name": name, "p": p, "told": told})
        return rows

    def _verdict(self) -> list[dict]:
        rows = []
        for metric in MAIN:
            if metric not in self.verdicts:
                continue
            name, comparison = self.verdicts[metric]
            ours, theirs = self.results[self.candidate][metric], self.best[metric][1]
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
        """Paired comparisons: the candidate with every other system, or every two of few systems."""
        if self.candidate:
            pairs = [(self.candidate, name) for name in self.results if name != self.candidate]
        else:
            pairs = list(combinations(self.results, 2)) if len(self.results) <= 5 else []
        rows = []
        for a, b in pairs:
            found = {
                m: compare(m, self.results[a][m], self.results[b][m])
                for m in PAIRED
                if m in self.results[a] and m in self.results[b]
            }
            rows.append(
                {
                    "first": a,
                    "second": b,
                    "comparisons": {m: c for m, c in found.items() if c is not None},
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
        """A plot of sentence lengths and one of paragraph lengths, human first, then each shown system."""
        out = []
        for k, kind in enumerate(("sentence", "paragraph")):
            found = {
                name: slop.lengths[k] for name, slop in self.slop.items() if slop.lengths[k].edges
            }
            if found:
                rows = [
                    ("human", next(iter(found.values())).human),
                    *((name, f.outputs) for name, f in found.items()),
                ]
                last = list(found.values())[-1]  # the candidate where there is one
                svg = plots.histogram(
                    last.edges,
                    {"human": last.human_shares, "ours": last.outputs_shares},
                    x_title=f"words in a {kind}",
                    title=f"Words in a {kind}",
                )
                out.append({"kind": kind, "rows": rows, "svg": svg, "name": list(found)[-1]})
        return out
