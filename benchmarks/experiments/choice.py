"""What a choice of texts aims at, for variants of the recipe, without training on it.

    python benchmarks/experiments/choice.py RUN VARIANTS.yaml

RUN is a run folder whose sft stage is done; VARIANTS, as choices.yaml, maps a name to keys of the
`dft` section. The candidates are sampled once; a variant with fewer prompts or candidates takes the
first ones.

A view is a score of texts: minus the first variation of a discrepancy at the policy. Its figure is
how far the chosen population lies from the policy towards human text along the view, half its
distance from the rejected one: 1 is as far as human text. The scores are fitted on human texts that
the choice has not seen, and human text is placed by others again. The second embedder (`MMD²*`,
`C2ST*`) is the one that no training signal uses. ± is the standard deviation over prompts drawn
again, of the choice alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import yaml
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dftfast.config import load_config
from dftfast.dft.context import PhaseContext
from dftfast.dft.selection import choose
from dftfast.distribution.mmd import MMD, LexicalMMD, StyleMMD
from dftfast.distribution.samples import Samples
from dftfast.evaluation.brief_checks import per_text
from dftfast.evaluation.ngrams import count_matrix, ngram_keys
from dftfast.kernels import rbf_witness
from dftfast.model.embedder import Embedder
from dftfast.optimise.packing import Example
from dftfast.pipeline import Run
from dftfast.pipeline.stage_dft import phase_context

ROUNDS = 200


def main(folder: str, variants: str) -> None:
    run = Run(load_config(files=[f"{folder}/config.yaml"], overrides=[("run.folder", folder)]))
    context = phase_context(run, run.path / "ablations" / "choice")
    prompts = context.phase_prompts(1)
    rollouts = context.candidates(1, prompts)
    views = views_of(run, context, prompts, rollouts.prompt, rollouts.samples)
    print("| variant | " + " | ".join(views) + " |\n|" + "---|" * (1 + len(views)))
    prompt = np.array(rollouts.prompt)
    place = np.arange(len(prompt)) - np.searchsorted(
        prompt, prompt
    )  # among its prompt's candidates
    for name, keys in yaml.safe_load(Path(variants).read_text(encoding="utf-8")).items():
        c = load_config(
            files=[f"{folder}/config.yaml"],
            overrides=[(f"dft.{k}", str(v)) for k, v in keys.items()],
        ).dft
        kept = np.flatnonzero((place < c.candidates) & (prompt < c.prompts))
        chosen, *rejected = (
            kept[i]
            for i, _ in choose(
                context, c, rollouts.samples.select(kept), prompt[kept], [True] * len(kept), 1
            )
        )
        row = []
        for score in views.values():
            gap = (
                (score[chosen] - score[rejected[0]]) / 2
                if rejected
                else score[chosen] - np.nanmean(score[kept])
            )
            drawn = np.random.default_rng(0).integers(len(gap), size=(ROUNDS, len(gap)))
            row.append(f"{np.nanmean(gap):.2f} ± {np.nanmean(gap[drawn], axis=1).std():.2f}")
        print(f"| {name} | " + " | ".join(row) + " |", flush=True)


def views_of(
    run: Run, context: PhaseContext, prompts: list[Example], prompt: list[int], samples: Samples
) -> dict[str, np.ndarray]:
    """View -> score of each of the policy's `samples`, which answer `prompts[prompt]`.

    A score is 0 on average and 1 where human text is. The last two are in percentage points and
    tokens.
    """
    placed, views = run.samples(run.split.validation[: len(context.validation)]), {}
    for name, of_policy, of_human in scores(run, prompt, samples, context.validation_human, placed):
        middle = of_policy.mean()
        views[name] = (of_policy - middle) / (of_human.mean() - middle)
    documents = {tuple(e.prompt): d for e, d in zip(run.examples(run.split.train), run.split.train)}
    briefs = [documents[tuple(prompts[p].prompt)] for p in prompt]
    views["outline, points"] = 100 * per_text(samples.texts, briefs)["outline_coverage"]
    views["tokens"] = samples.lengths.numpy().astype(float)
    return views


def scores(run: Run, prompt: list[int], policy: Samples, human: Samples, placed: Samples):
    """(view, score of each text of the policy, score of each of `placed`), fitted on `human`."""
    unseen = Embedder(run.config.evaluation.unseen_embedder)
    again = lambda s: Samples(unseen.encode(s.texts), s.tokens, s.offsets, s.texts)
    other = [again(s) for s in (policy, human, placed)]
    for name, kind, (q, y, z) in (
        ("MMD²", MMD(), (policy, human, placed)),
        ("MMD²*", MMD(), other),
        ("lexical", LexicalMMD(), (policy, human, placed)),
        ("style", StyleMMD(), (policy, human, placed)),
    ):
        kind.fit(y)
        z = kind.features(z)
        to_policy = rbf_witness(z, kind.features(q), kind.bandwidths).mean(1)
        yield name, kind.witness(q).numpy(), (2 * (kind.towards(z) - to_policy)).numpy()
    for n in (1, 2, 3):
        yield f"{n}-grams", *ngram_scores(n, run.tokenizer.vocab_size, policy, human, placed)
    x = torch.cat([s.embeddings for s in other]).numpy()
    count = len(policy)
    groups = np.concatenate(
        [prompt, len(policy) + np.arange(len(x) - count)]
    )  # no prompt in both folds
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=10 / len(x), class_weight="balanced", max_iter=300)
    )
    logits = cross_val_predict(
        model,
        x,
        np.arange(len(x)) >= count,
        groups=groups,
        cv=GroupKFold(5),
        method="decision_function",
    )
    yield "C2ST*", logits[:count], logits[-len(placed) :]


def ngram_scores(
    n: int, vocab: int, policy: Samples, human: Samples, placed: Samples
) -> tuple[np.ndarray, np.ndarray]:
    """Minus the first variation of `‖f_q − f_p‖²` at each text of `policy` and of `placed`.

    A text of `policy` is left out of f_q.
    """
    parts = (policy, human, placed)
    keys, document = ngram_keys([s.tokens_of(i) for s in parts for i in range(len(s))], n, vocab)
    counts, _ = count_matrix(keys, document, sum(map(len, parts)))
    q, y, z = counts[: len(policy)], counts[len(policy) : -len(placed)], counts[-len(placed) :]
    size, total, f_p = q.sum(1).A1, q.sum(), y.sum(0).A1 / y.sum()
    f_q = q.sum(0).A1 / total
    with_others = q @ q.sum(0).A1 - q.multiply(q).sum(1).A1
    along = with_others.sum() / (total**2 - (size**2).sum()) - f_q @ f_p  # of two different texts
    own = with_others / (total - size) - q @ f_p
    return along * size - own, along * z.sum(1).A1 - z @ (f_q - f_p)


if __name__ == "__main__":
    main(*sys.argv[1:])
