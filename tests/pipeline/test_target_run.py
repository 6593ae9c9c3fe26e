"""A run towards a target file is one towards its texts."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
from tiny_run import short_options

from dftfast import check, target
from dftfast.config import parse_command_line
from dftfast.data import load_corpus
from dftfast.dft.natural import witnesses
from dftfast.distribution.samples import Samples
from dftfast.distribution.targets import Target
from dftfast.pipeline import Run
from dftfast.pipeline.blend_texts import blend_ends
from dftfast.pipeline.run_target import check_target, reference
from dftfast.runtime.errors import UserError


@pytest.fixture(scope="module")
def of_training_texts(model, corpus, tmp_path_factory):
    """Target file of the training texts of a short run, and what makes others."""
    folder = tmp_path_factory.mktemp("targets")
    run = Run(parse_command_line(short_options(model, corpus)))
    texts = {document.text for document in run.split.train}
    rows = [json.loads(line) for line in corpus.read_text().splitlines()]
    kept = {row["text"]: row for row in rows if row["text"] in texts}
    mine = folder / "train.jsonl"
    mine.write_text(
        "".join(json.dumps(kept[d.text]) + "\n" for d in run.split.train), encoding="utf-8"
    )

    def make(name, *options, of=mine):
        path = folder / name
        common = ["--model", str(model), "--embedder=character-ngrams", "--out", str(path)]
        target.main([str(of), *common, *options])
        return path

    return make


def run_towards(model, corpus, *given):
    return Run(parse_command_line([*short_options(model, corpus), *given]))


def test_candidates_earn_the_same(context, model, corpus, of_training_texts):
    made = reference(run_towards(model, corpus, f"--target={of_training_texts('a.target')}"))
    assert isinstance(made, Target) and isinstance(context.human, Samples)
    prompts = context.phase_prompts(1)
    rollouts = context.candidates(1, prompts)
    critics = [
        witnesses(replace(context, human=human), prompts, rollouts, 1)
        for human in (context.human, made)
    ]
    weights = np.random.default_rng(0).uniform(0.5, 2, len(rollouts.prompt))
    found, wanted = (critic.reward(weights) for critic in critics)
    np.testing.assert_array_equal(found, wanted)
    assert critics[0].reliability == critics[1].reliability
    assert critics[0].values(weights) == critics[1].values(weights)


def test_with_texts_a_target_is_samples(model, corpus, of_training_texts, context):
    path = of_training_texts("c.target", "--with-texts")
    run = run_towards(model, corpus, f"--target={path}", "--baselines.methods=sft_more")
    check_target(run)
    made = reference(run)
    assert isinstance(made, Samples) and made.texts == context.human.texts


def test_held_out_texts_in_a_target_are_told(model, corpus, of_training_texts, caplog):
    with caplog.at_level(logging.WARNING, "dftfast"):
        reference(run_towards(model, corpus, f"--target={of_training_texts('d.target')}"))
        assert "held-out texts are in the target" not in caplog.text
        whole = of_training_texts("e.target", of=corpus)
        reference(run_towards(model, corpus, f"--target={whole}"))
    assert "held-out texts are in the target" in caplog.text


def test_a_target_for_something_else_is_refused(model, corpus, of_training_texts):
    path = of_training_texts("f.target")
    for given, why in (
        ([f"--target={path}", "--evaluation.embedder=none"], "with the embedder character-ngrams"),
        ([f"--target={path}", "--baselines.methods=sft_more"], "need human texts"),
        ([f"--target={corpus}"], "no target can be read"),
    ):
        with pytest.raises(UserError, match=why):
            check_target(run_towards(model, corpus, *given))


def test_blended_corpora_are_split_and_drawn_as_weighed(model, corpus, tmp_path):
    other = tmp_path / "other.jsonl"
    rows = [json.loads(line) for line in corpus.read_text().splitlines()]
    other.write_text(
        "".join(json.dumps({**row, "text": f"Sir, {row['text']}"}) + "\n" for row in rows),
        encoding="utf-8",
    )
    given = ["--data.blend=3,1", "--data.limit=none", f"--out={tmp_path / 'run'}"]
    run = run_towards(model, f"{corpus},{other}", *given)
    for part in (run.uncounted_split.train[:40], run.uncounted_split.train):
        strange = sum(document.text.startswith("Sir,") for document in part)
        assert strange / len(part) == pytest.approx(0.25, abs=0.08)
    ends = blend_ends(run)
    assert ends is not None and ends.weights == {corpus.name: 0.75, "other.jsonl": 0.25}
    strange = [d.text for d in run.split.train if d.text.startswith("Sir,")]
    np.testing.assert_array_equal(ends.embeddings["other.jsonl"], run.embed(strange))


def test_the_ends_of_blended_targets(model, corpus, of_training_texts):
    paths = [of_training_texts(name) for name in ("h.target", "i.target")]
    run = run_towards(model, corpus, f"--target={paths[0]}:3,{paths[1]}:1")
    ends = blend_ends(run)
    assert ends is not None and ends.weights == {"h.target": 0.75, "i.target": 0.25}
    assert len(ends.embeddings["h.target"]) == 3 * len(ends.embeddings["i.target"])
    assert blend_ends(run_towards(model, corpus, f"--target={paths[0]}")) is None


def test_check_takes_the_rules_of_a_target(of_training_texts, corpus, tmp_path, capsys):
    path = of_training_texts("g.target", of=corpus)
    assert len(load_corpus([corpus])) > 100
    page = tmp_path / "page.txt"
    page.write_text("No — not — this — one — here — at — all — ever — again.\n", encoding="utf-8")
    capsys.readouterr()
    check.main([str(page), "--target", str(path), "--fail-on=never"])
    found = capsys.readouterr().out
    rules = tmp_path / "writing.yaml"
    check.main(["--fit", str(corpus), "--out", str(rules)])
    capsys.readouterr()
    check.main([str(page), "--rules", str(rules), "--fail-on=never"])
    assert capsys.readouterr().out == found
    with pytest.raises(UserError, match="leave --rules out"):
        check.main([str(page), "--target", str(path), "--rules", str(rules)])


def test_texts_of_one_author_need_their_consent(corpus, tmp_path):
    rows = [json.loads(line) | {"author": "Ann"} for line in corpus.read_text().splitlines()[:40]]
    mine = tmp_path / "ann.jsonl"
    mine.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(UserError, match="every text is by 'ann'"):
        target.main([str(mine), "--out", str(tmp_path / "a.target")])
    options = [str(mine), "--out", "x", "--i-have-permission"]
    assert len(target.read(target.make_parser().parse_args(options))) == 40
