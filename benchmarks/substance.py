"""What a way of writing costs elsewhere: the model before SFT, after it and after DFT.

python benchmarks/substance.py RUN [--general FILE.jsonl] [--texts 64]

RUN is the folder of a finished run. Prints a table in Markdown: nats a token of its held-out human
texts and of general texts that its corpus does not cover (none is the docstrings of the default
corpus), and of the answers to its held-out prompts the coverage of the outline and the share with
an altered or missing number or quotation of it. SFT's answers are those at the temperature nearest
to the one that DFT starts from. Then the shares of `exact_tasks` that are right, sampled greedily.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import numpy as np
from exact_tasks import exact_tasks

from dftfast.config import load_config
from dftfast.data import Document, docstring_corpus, load_corpus
from dftfast.data.generations import read_generations
from dftfast.evaluation.brief_checks import per_text
from dftfast.model.policy import Policy
from dftfast.optimise.likelihood import nats_per_token
from dftfast.pipeline import Run
from dftfast.pipeline.stage_sft import fine_tuned
from dftfast.rollout import Request, Sampler
from dftfast.writing.passage import Passage
from dftfast.writing.rules.outline_facts import OutlineFacts

LONGEST = 40  # tokens of an answer to a task


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--general")
    parser.add_argument("--texts", type=int, default=64)
    options = parser.parse_args()
    config = load_config(files=[options.run / "config.yaml"])
    section = config.run.model_copy(update={"folder": str(options.run)})
    run = Run(config.model_copy(update={"run": section}))
    fitted = json.loads((run.path / "sft" / "results.json").read_text(encoding="utf-8"))
    best = min(fitted, key=lambda name: fitted[name]["validation_nats"])
    general = load_corpus([options.general or docstring_corpus()], limit=options.texts)
    warm = run.config.dft.bake_temperature
    start = fine_tuned(run, best, warm)
    rows = {
        "before SFT": (run.policy(run.model_folder), None),
        "after SFT": (start, answers_of_sft(run.path, best, warm)),
        "after DFT": (run.policy(run.path / "merged"), run.path / "generations" / "dft.jsonl"),
    }
    print(f"{run.path}, {options.texts} texts for nats")
    print("| | held-out nats | general nats | outline | facts altered | tasks right |")
    print("|---|---|---|---|---|---|")
    for name, (policy, answers) in rows.items():
        held_out, elsewhere = (
            nats_per_token(policy.decoder, run.examples(texts))
            for texts in (run.held_out[: options.texts], general)
        )
        kept = substance(run.held_out, answers) if answers else "– | –"
        print(f"| {name} | {held_out:.3f} | {elsewhere:.3f} | {kept} | {tasks(run, policy)} |")


def answers_of_sft(folder: Path, name: str, temperature: float) -> Path:
    """The file of the variant's answers at the temperature nearest to this one."""
    files = list((folder / "generations" / "sft").glob(f"{name} T=*.jsonl"))
    own = lambda file: float(re.findall(r"T=([\d.]+)", file.name)[0])
    return min(files, key=lambda file: abs(own(file) - temperature))


def substance(documents: list[Document], answers: Path) -> str:
    """Coverage of the outline, and the share of answers with a fact of it altered or missing."""
    by_id = {document.id: document for document in documents if document.outline}
    rows = [row for row in read_generations(answers) if row["id"] in by_id]
    if not rows:
        return "no outlines | –"
    briefs, texts = [by_id[row["id"]] for row in rows], [row["text"] for row in rows]
    covered = float(np.nanmean(per_text(texts, briefs)["outline_coverage"]))
    rule = OutlineFacts()
    wrong = [any(rule.find(Passage(text), brief)) for text, brief in zip(texts, briefs)]
    return f"{covered:.1%} | {np.mean(wrong):.1%}"


def tasks(run: Run, policy: Policy) -> str:
    """The share of each kind that is answered rightly."""
    wanted = exact_tasks()
    sampler = Sampler(0.0, max_tokens=LONGEST)
    prompts = [run.tokenizer.chat([{"role": "user", "content": t.question}]) for t in wanted]
    requests = [Request(i, prompt, sampler, 0) for i, prompt in enumerate(prompts)]
    batch = run.engine(policy).generate(requests)
    right: dict[str, list[bool]] = {}
    for i, task in enumerate(wanted):
        right.setdefault(task.kind, []).append(task.right(run.tokenizer.decode(batch.output(i))))
    return ", ".join(f"{kind} {np.mean(each):.0%}" for kind, each in right.items())


if __name__ == "__main__":
    main()
