"""The report: one self-contained HTML page, and the same as Markdown."""
from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from markupsafe import Markup, escape

from dftfast.files import atomic_file

from ..baseline import Results, baselines, super_baseline, verdicts
from ..figure import Figure
from ..metrics import METRICS
from ..results import cell
from ..slop.overused import human_against_human, overused, phrases_of, without_parts
from ..textset import TextSet
from . import plots

MAIN = ("mmd", "mmd_unseen", "token_l2_1", "token_l2_2", "token_l2_3", "jsd", "frechet", "c2st", "jmq", "mauve", "self_bleu",
        "same_start", "foreign_script")  # what the verdict counts
PLOTTED = ("mmd", "mmd_unseen", "token_l2_1", "token_l2_2", "c2st", "jsd", "jmq", "self_bleu", "length_mean", "mtld")
_SAMPLER = re.compile(r"\s*\b(T|top-p|top-k|min-p)=([0-9.]+)")
_SAMPLER_FIELDS = {"T": "temperature", "top-p": "top_p", "top-k": "top_k", "min-p": "min_p"}


def write_report(folder: str | Path, results: Results, generations: Mapping[str, TextSet], *, candidate: str | None = None,
                 samplers: Mapping[str, Mapping] | None = None, about: Mapping[str, object] | None = None,
                 samples: int = 6, map_points: int = 500) -> Path:
    """Write folder/report.html and folder/report.md; return the path of the page.

    Args:
        results: system -> metric -> Figure.
        generations: system -> its texts, and "human" -> the reference.
        candidate: the system that is compared with the super-baseline of all others.
        samplers: system -> {temperature, top_p, top_k}; by default read from names such as "sft T=0.8 top-p=1 top-k=0".
        about: facts for the head of the page.
        samples, map_points: prompts shown side by side, and texts of each system on the embedding map.

    Training curves are drawn where the folder has a log.jsonl.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    folder = Path(folder)
    candidate = candidate if candidate in results else None
    page = _Page(results, generations, candidate, samplers or {}, folder)
    context = page.context(samples, map_points) | {"about": dict(about or {}), "candidate": candidate}
    environment = Environment(loader=PackageLoader("dftfast.evaluation.report", "."), undefined=StrictUndefined,
                              autoescape=lambda name: ".html" in name, trim_blocks=True, lstrip_blocks=True)
    for name in ("report.md", "report.html"):
        with atomic_file(folder / name) as temporary:
            temporary.write_text(environment.get_template(f"{name}.j2").render(context), encoding="utf-8")
    return folder / "report.html"


class _Page:
    def __init__(self, results: Results, generations: Mapping[str, TextSet], candidate: str | None, samplers, folder: Path):
        self.results, self.generations, self.candidate, self.folder = results, generations, candidate, folder
        self.samplers = {name: dict(samplers.get(name) or sampler_of(name)) for name in results}
        self.human = generations["human"]
        self.baselines = baselines(results, candidate)
        self.best = super_baseline(self.baselines)
        self.verdicts = verdicts(results, candidate) if candidate else {}
        self.shown = self._shown()

    def _shown(self) -> list[str]:
        """Systems for samples, phrases and the map: best baselines by MMD and token L2, then the candidate."""
        names = [self.best[m][0] for m in ("mmd", "token_l2_1") if m in self.best]
        names = names or list(self.baselines)[:2]
        if not self.candidate:
            names = [*names, *self.baselines]
        names = list(dict.fromkeys(names))[:3 if not self.candidate else 2]
        return [n for n in [*names, self.candidate] if n in self.generations]

    def context(self, samples: int, map_points: int) -> dict:
        phrases = {name: [phrases_of(t) for t in self.generations[name].texts] for name in [*self.shown, "human"]}
        slop = self._slop(phrases)
        return {
            "metrics": METRICS, "results": self.results, "short": short, "prompts": len(self.human), "systems": len(self.results), "shown": self.shown,
            "headline": self._headline(), "verdict": self._verdict(), "rows": self._rows(), "cell": cell,
            "baselines": self.baselines, "all": self._all(), "figures": self._figures(), "legend": list(self._series()),
            "slop": slop, "noise": without_parts(human_against_human(phrases["human"]))[:12],
            "samples": self._samples(samples, slop), "map": self._map(map_points), "training": self._training(),
        }

    def _headline(self) -> str:
        if not self.candidate:
            told = [n for n, f in self.results.items() if _significant(f)]
            return (f"{len(told)} of {len(self.results)} " + ("sets of texts" if len(self.results) > 1 else "set of texts")
                    + " can be told from the human texts (p < 0.05 by MMD or token frequencies).")
        counted = [c.verdict for m, (_, c) in self.verdicts.items() if m in MAIN]
        n = {v: counted.count(v) for v in ("better", "level", "worse")}
        return (f"{self.candidate} is better than the best of {len(self.baselines)} baselines on {n['better']} of {len(counted)} "
                f"metrics, level on {n['level']}, worse on {n['worse']}.")

    def _verdict(self) -> list[dict]:
        rows = []
        for metric in MAIN:
            if metric not in self.verdicts:
                continue
            name, comparison = self.verdicts[metric]
            ours, theirs = self.results[self.candidate][metric], self.best[metric][1]
            band = _human_band(metric, ours)
            rows.append({"metric": metric, "against": name, "ours": ours, "theirs": theirs, "comparison": comparison,
                         "strip": plots.strip([("baseline", theirs.value, theirs.low, theirs.high),
                                               ("ours", ours.value, ours.low, ours.high)], band)})
        return rows

    def _rows(self) -> list[dict]:
        """Every metric: best baseline, candidate (or each system), human figure."""
        rows = []
        for metric in METRICS:
            have = {n: f[metric] for n, f in self.results.items() if metric in f}
            known = [f for f in have.values() if f.value is not None]
            if not known:
                continue
            human = next((f for f in known if f.human is not None), Figure())
            rows.append({"metric": metric, "human": human, "best": self.best.get(metric),
                         "ours": have.get(self.candidate, Figure()) if self.candidate else None})
        return rows

    def _all(self) -> list[str]:
        return [m for m in METRICS if any(m in f and f[m].value is not None for f in self.results.values())]

    def _series(self) -> dict[str, list[str]]:
        """Systems that differ only in temperature, by what they have in common."""
        series: dict[str, list[str]] = {}
        for name in self.baselines:
            sampler = self.samplers[name]
            if "temperature" in sampler:
                series.setdefault(_label(name, sampler), []).append(name)
        return {label: names for label, names in series.items()}

    def _figures(self) -> list[dict]:
        series, out = self._series(), []
        if not any(len(names) > 1 for names in series.values()):
            return []
        for metric in PLOTTED:
            data = {}
            for label, names in series.items():
                figures = [(self.samplers[n]["temperature"], self.results[n].get(metric, Figure())) for n in names]
                points = [(t, f.value, f.low, f.high) for t, f in figures if f.value is not None]
                if points:
                    data[label] = points
            if not data:
                continue
            ours = self.results[self.candidate].get(metric, Figure()) if self.candidate else Figure()
            some = next(self.results[n][metric] for names in series.values() for n in names if metric in self.results[n])
            level = (ours.value, self.candidate) if ours.value is not None else None
            m = METRICS[metric]
            short = (lambda v: f"{100 * v:.0f}%") if m.percent else (lambda v: f"{v:.4g}".replace("-", "−"))
            out.append({"metric": metric, "svg": plots.lines(data, x_title="temperature", level=level, format=short,
                                                             band=_human_band(metric, some), title=m.title)})
        return out

    def _slop(self, phrases: Mapping[str, list[set[str]]]) -> dict[str, list]:
        out = {}
        for name in self.shown:
            paired = list(self.generations[name].ids) == list(self.human.ids)
            out[name] = without_parts(overused(phrases[name], phrases["human"], paired)[:60])[:15]
        return out

    def _samples(self, count: int, slop: Mapping[str, list]) -> list[dict]:
        place = {name: {i: k for k, i in enumerate(self.generations[name].ids)} for name in [*self.shown, "human"]}
        common = [i for i in self.human.ids if all(i in p for p in place.values())]
        spread = [common[k] for k in np.linspace(0, len(common) - 1, min(count, len(common))).astype(int)] if common else []
        rows = []
        for i in spread:
            texts = [("human", escape(self.human.texts[place["human"][i]]))]
            for name in self.shown:
                flagged = [o.phrase for o in slop[name] if o.p <= 0.05 and o.ratio >= 2]
                texts.append((name, highlight(self.generations[name].texts[place[name][i]], flagged)))
            rows.append({"prompt": self.human.prompts[place["human"][i]], "texts": texts})
        return rows

    def _map(self, most: int) -> Markup | None:
        sets = {"human": self.human, **{n: self.generations[n] for n in self.shown[-2:]}}
        if any(s.embeddings is None for s in sets.values()):
            return None
        points = {name: s.embeddings[:most].astype(np.float64) for name, s in sets.items()}
        centre = points["human"].mean(0)
        directions = np.linalg.svd(np.concatenate([p - centre for p in points.values()]), full_matrices=False)[2][:2]
        return {"svg": plots.scatter({name: (p - centre) @ directions.T for name, p in points.items()}), "names": list(points)}

    def _training(self) -> list[dict]:
        log = self.folder / "log.jsonl"
        if not log.exists():
            return []
        losses: dict[str, list] = {}
        phases: dict[str, list] = {}
        for line in log.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue  # the last line of a run that was killed
            if "loss" in row and "step" in row:
                losses.setdefault(row["stage"], []).append((float(row["step"]), float(row["loss"]), None, None))
            elif "phase" in row and "score" in row:
                phases.setdefault("score", []).append((float(row["phase"]), float(row["score"]), None, None))
        out = []
        if losses:
            latest = {stage: list({p[0]: p for p in points}.values()) for stage, points in losses.items()}
            out.append({"title": "Training loss", "svg": plots.lines(latest, x_title="step", title="Training loss"),
                        "legend": list(latest)})
        if phases:
            latest = {k: list({p[0]: p for p in points}.values()) for k, points in phases.items()}
            out.append({"title": "Discrepancy on tuning prompts, by phase (start = 1)",
                        "svg": plots.lines(latest, x_title="phase", title="Discrepancy by phase"), "legend": []})
        return out


def sampler_of(name: str) -> dict[str, float]:
    """Sampler settings in a system's name: "sft T=0.8 top-p=1 top-k=0" -> {temperature: 0.8, top_p: 1, top_k: 0}."""
    return {_SAMPLER_FIELDS[key]: float(value) for key, value in _SAMPLER.findall(name)}


def short(name: str) -> str:
    """The name without sampler settings that are off."""
    return re.sub(r" (top-p=1|top-k=0|min-p=0)(?![.0-9])", "", name)


def _label(name: str, sampler: Mapping[str, float]) -> str:
    label = _SAMPLER.sub("", name).strip() or "samples"
    if sampler.get("top_p", 1) < 1:
        label += f" top-p {sampler['top_p']:g}"
    if sampler.get("top_k", 0):
        label += f" top-k {sampler['top_k']:g}"
    return label


def highlight(text: str, phrases: list[str]) -> Markup:
    """The text as HTML with these phrases (word n-grams in lower case) marked."""
    if not phrases:
        return escape(text)
    between = r"[^\w\n.!?]+"
    alternatives = sorted((between.join(map(re.escape, p.split())) for p in phrases), key=len, reverse=True)
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(alternatives)})(?!\w)", re.IGNORECASE)
    parts, last = [], 0
    for match in pattern.finditer(text):
        parts += [escape(text[last:match.start()]), Markup("<mark>%s</mark>") % match.group()]
        last = match.end()
    return Markup("").join([*parts, escape(text[last:])])


def _human_band(metric: str, figure: Figure) -> tuple[float, float] | None:
    if figure.human is None:
        return None
    return (figure.human_low if figure.human_low is not None else figure.human,
            figure.human_high if figure.human_high is not None else figure.human)


def _significant(figures: Mapping[str, Figure]) -> bool:
    return any(metric in figures and figures[metric].p is not None and figures[metric].p < 0.05
               for metric in ("mmd", "token_l2_1"))
