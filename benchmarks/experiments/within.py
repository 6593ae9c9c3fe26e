"""Is DFT within genres nearer to the human texts of each genre than DFT on all texts together?

    python benchmarks/experiments/within.py CORPUS OUT [--seeds 0 1 2] [--each 1200] \
        [--held-out 400] [--section.key=value ...]

CORPUS is a folder with train.jsonl and valid.jsonl, whose rows name a genre. Of each genre as many
texts are taken, held-out ones from valid.jsonl. One model is fine-tuned; then, from each seed, come
the phases of both arms, `dft.match_within` off and on, with the same prompts and numbers of
samples, and one answer to every held-out prompt. Distances are of the answers to the prompts of one
genre from the human texts of these; *all texts* are the answers together. The bar: the mean of MMD²
over the genres is less within than pooled, in every seed. Started again it goes on; another recipe
wants another OUT.
"""

from __future__ import annotations

import argparse
import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import stats

from dftfast.config import Config, load_config
from dftfast.data.generations import read_draws
from dftfast.data.split import hash_share
from dftfast.dft.loop import run_phases
from dftfast.dft.natural import natural_phase
from dftfast.dft.paired_views import GroupViews, PairedViews
from dftfast.pipeline import Run
from dftfast.pipeline.match_groups import groups_of
from dftfast.pipeline.stage_dft import dft_sampler, phase_context, unseen_views
from dftfast.pipeline.stages import check_input, run_stages, stages, take_folder
from dftfast.runtime.files import write_json

FIELD, ALL = "genre", "all texts"
ARMS = {"pooled": "none", "within": FIELD}
VIEWS = ("mmd", "unseen", "lexical", "style")
Figures = dict[str, dict[str, float]]  # group -> view -> squared distance


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--each", type=int, default=1200, help="training texts of a genre")
    parser.add_argument("--held-out", type=int, default=400, help="held-out texts of a genre")
    o, keys = parser.parse_known_args()
    given = [tuple(key.removeprefix("--").split("=", 1)) for key in keys]
    train = even_part(o.corpus / "train.jsonl", o.each, o.out / "train.jsonl")
    held_out = even_part(o.corpus / "valid.jsonl", o.held_out, o.out / "held_out.jsonl")

    def config(seed: int, arm: str) -> Config:
        own = {
            "run.folder": o.out / "run",
            "data.train": train,
            "data.held_out": held_out,
            "dft.prompts": 240,  # of four genres 60 each
            "dft.seed": seed,
            "dft.match_within": ARMS[arm],
        }
        return load_config(overrides=[(k, str(v)) for k, v in own.items()] + given)

    check_input(Run(config(0, "within")))
    first = Run(config(0, "pooled"))
    (sft,) = [stage for stage in stages(first.config) if stage.name == "sft"]
    with ExitStack() as stack:
        take_folder(first, stack)
        run_stages(first, [sft])
    found = {arm: [figures(config(seed, arm), arm) for seed in o.seeds] for arm in ARMS}
    text = table(figures(config(0, "pooled"), "start"), found)
    (o.out / "table.md").write_text(text + "\n", encoding="utf-8")
    print(text)


def even_part(corpus: Path, each: int, path: Path) -> Path:
    """At most so many rows of each genre, by the hash of their ids; the genres in turn."""
    by_genre: dict[str, list[str]] = {}
    rows = [(json.loads(line), line) for line in corpus.read_text(encoding="utf-8").splitlines()]
    for row, line in sorted(rows, key=lambda pair: hash_share(pair[0]["id"], "within")):
        by_genre.setdefault(row[FIELD], []).append(line)
    places = {
        line: (i, genre)
        for genre, lines in by_genre.items()
        for i, line in enumerate(lines[: min(each, *map(len, by_genre.values()))])
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(sorted(places, key=places.__getitem__)) + "\n", encoding="utf-8")
    return path


def figures(config: Config, arm: str) -> Figures:
    """Those of one arm with one seed, trained, sampled and measured where they are not on disk."""
    run = Run(config)
    name = arm if arm == "start" else f"{arm}-{config.dft.seed}"
    folder = run.path / "arms" / name
    measured, answers = folder / "figures.json", {folder / "answers.jsonl": dft_sampler(run)}
    if not measured.exists():
        if run.missing_draws(run.held_out, answers):
            context = phase_context(run, folder)
            if arm != "start":
                run_phases(context, natural_phase)
            run.answer(context.engine, run.held_out, answers, f"arms/{name}/answers")
        draws = read_draws(folder / "answers.jsonl")
        write_json(measured, measure(run, [[row["text"] for row in rows] for rows in draws]))
    return json.loads(measured.read_text(encoding="utf-8"))


def measure(run: Run, draws: list[list[str]]) -> Figures:
    """Of answers to all held-out prompts, by draw; empty ones are left out."""
    views, human = unseen_views(run), run.samples(run.held_out)
    whole = PairedViews(human, {name: view(human) for name, view in views.items()})
    by_group = GroupViews(whole, groups_of(run.held_out, FIELD))
    of_draws = []
    for texts in draws:
        prompt = [i for i, text in enumerate(texts) if text]
        drawn = run.samples([replace(run.held_out[i], text=texts[i]) for i in prompt])
        unseen = {name: view(drawn) for name, view in views.items()}
        together = whole.distances(drawn, unseen, prompt)
        groups = by_group.figures(drawn, unseen, prompt)
        found = {group: each["validation"] for group, each in groups.items()}
        of_draws.append(found | {ALL: {view: each.value for view, each in together.items()}})
    first = of_draws[0]
    mean = lambda group, view: float(np.mean([each[group][view] for each in of_draws]))
    return {group: {view: mean(group, view) for view in first[group]} for group in first}


def table(start: Figures, found: dict[str, list[Figures]]) -> str:
    """Every view by genre, in 10⁻⁴: means over seeds, the difference and its standard error."""
    genres = sorted(set(start) - {ALL})
    lines = [f"| ×10⁻⁴ | | start | {' | '.join(found)} | difference | ± |", "|---" * 7 + "|"]
    for view in VIEWS:
        for row in (*genres, "mean of genres", ALL):
            groups = [row] if row in start else genres
            of = lambda each: 1e4 * float(np.mean([each[group][view] for group in groups]))
            pooled, within = (np.array([of(each) for each in found[arm]]) for arm in ARMS)
            gap = within - pooled
            cells = [of(start), pooled.mean(), within.mean(), gap.mean()]
            error = f"{stats.sem(gap):.2f}" if len(gap) > 1 else "–"
            shown = " | ".join(f"{cell:.2f}" for cell in cells)
            lines.append(f"| {view} | {row} | {shown} | {error} |")
            if (view, row) == ("mmd", "mean of genres"):
                verdict = decided(gap)
    return "\n".join([*lines, "", verdict])


def decided(gap: np.ndarray) -> str:
    less = int((gap < 0).sum())
    p = f", p = {stats.ttest_1samp(gap, 0).pvalue:.3g}" if len(gap) > 1 else ""
    said = "goes in" if less == len(gap) else "stays off"
    return f"MMD² in the mean of genres is less within in {less} of {len(gap)} seeds{p}: it {said}"


if __name__ == "__main__":
    main()
