"""Evaluation against a target: the figures of its texts, and what it says that it cannot tell."""

from __future__ import annotations

import json

import pytest
from evaluate_files import refused, save
from tiny_run import save_corpus, save_tiny_model

from dftfast import evaluate, target

BIT_FOR_BIT = (
    *("mmd", "mmd2", "mmd_unseen", "style_mmd", "frechet", "c2st", "c2st_unseen"),
    *("same_start", "em_dash", "punctuation", "mtld", "sentence_length", "length_mean"),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    return save_tiny_model(folder / "model", save_corpus(folder / "corpus.jsonl"))


@pytest.fixture
def world(model, sets, tmp_path):
    """Outputs, human texts and what makes and takes targets of them."""
    human = save(tmp_path / "human.jsonl", sets(30, 1))
    for name, texts in (
        ("paired", sets(30, 2)),
        ("apart", sets(40, 3, prefix="q")),
        ("some", sets(30, 4).select(range(12))),
    ):
        save(tmp_path / f"{name}.jsonl", texts)

    def make(name, *options, corpus=human):
        path = tmp_path / name
        embedders = ["--embedder=character-ngrams", "--unseen-embedder=character-ngrams"]
        target.main([str(corpus), "--out", str(path), "--model", str(model), *embedders, *options])
        return path

    def figures(outputs, *reference):
        out = tmp_path / "out"
        given = [str(tmp_path / f"{outputs}.jsonl"), "--out", str(out), "--rounds=40"]
        unseen = "--unseen-embedder=character-ngrams"
        evaluate.main([*given, *map(str, reference), unseen])
        return json.loads((out / "results.json").read_text(encoding="utf-8"))

    of_texts = lambda outputs: figures(
        *(outputs, "--reference", human, "--tokenizer", model, "--embedder=character-ngrams")
    )
    return make, figures, of_texts


@pytest.mark.parametrize("outputs", ["paired", "apart"])
def test_figures_are_those_of_the_texts(world, outputs):
    make, figures, of_texts = world
    found = figures(outputs, "--target", make("a.target"))["systems"][outputs]
    wanted = of_texts(outputs)["systems"][outputs]
    for name in BIT_FOR_BIT:
        assert found[name] == wanted[name], name
    for name in ("token_l2_1", "token_l2_2", "token_l2_3", "jsd"):
        assert found[name]["value"] == wanted[name]["value"], name
        assert found[name]["p"] is None
        assert found[name]["low"] <= found[name]["value"] <= found[name]["high"]
    for name in ("bleu", "chrf", "self_bleu", "near_duplicates"):
        assert found[name]["value"] is None and "holds no texts" in found[name]["reason"]
    square = found["token_sq_1"]
    if outputs == "apart":
        assert square["value"] == pytest.approx(wanted["token_sq_1"]["value"], rel=1e-9)
    else:
        assert square["reason"] == "it needs the texts"


def test_a_target_with_texts_is_its_texts(world):
    make, figures, of_texts = world
    found, wanted = (
        figures("paired", "--target", make("a.target", "--with-texts")),
        of_texts("paired"),
    )
    names = wanted["systems"]["paired"].keys() - {
        "length_error",
        "em_dash_error",
        "outline_coverage",
    }
    for name in names:
        assert found["systems"]["paired"][name] == wanted["systems"]["paired"][name], name
    assert found["findings"] == wanted["findings"]


def test_only_some_prompts_are_answered(world):
    make, figures, of_texts = world
    found = figures("some", "--target", make("a.target"))["systems"]["some"]
    wanted = of_texts("some")["systems"]["some"]
    assert found["mmd2"] == wanted["mmd2"] and found["mtld"] == wanted["mtld"]
    assert found["token_l2_1"]["reason"] == "the outputs answer some prompts of the target"


def test_a_blend_lies_between_its_ends(world, sets, tmp_path, capsys):
    make, figures, _ = world
    other = sets(30, 6, prefix="o")
    other.texts = [text.upper() for text in other.texts]
    one = make("one.target")
    two = make("two.target", corpus=save(tmp_path / "other.jsonl", other))
    found = figures("apart", "--target", f"{one}:0.5,{two}:0.5")
    ends = found["about"]["ends"]["apart"]
    assert ends["shares"]["one.target"]["value"] > 0.75 > ends["shares"]["two.target"]["value"]
    distances = ends["mmd2"]
    assert distances["one.target"] < ends["mmd2_from_blend"] < distances["two.target"]
    mmd2 = found["systems"]["apart"]["mmd2"]["value"]
    assert distances["one.target"] < mmd2 < distances["two.target"]
    said = capsys.readouterr().out
    assert "apart is nearest to" in said and "from two.target" in said


def test_a_blend_with_texts_has_its_place_in_the_report(world, sets, tmp_path):
    make, figures, _ = world
    one = make("one.target", "--with-texts")
    other = save(tmp_path / "other.jsonl", sets(30, 6, prefix="o"))
    two = make("two.target", "--with-texts", corpus=other)
    figures("apart", "--target", f"{one}:0.25,{two}:0.75")
    record = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["blend"]
    assert record["weights"] == {"one.target": 0.25, "two.target": 0.75}
    assert record["systems"].keys() == {"apart"}
    assert record["systems"]["apart"]["mmd2"].keys() == record["weights"].keys()


def test_what_a_target_cannot_do_is_refused(world, tmp_path, monkeypatch, capsys):
    make, _, _ = world
    plain, private = make("a.target"), make("b.target", "--private", "3")
    outputs = str(tmp_path / "apart.jsonl")
    for given, why in (
        (["--target", str(private)], "can train, not evaluate"),
        (["--target", str(plain), "--judge", "a=http://x,y"], "--judge: needs the human texts"),
        (["--target", str(plain), "--train-judge"], "--train-judge: needs the human texts"),
        (["--target", str(plain), "--embedder", "./none"], "./none"),
        (["--target", f"{plain},{plain}"], "give every target a weight"),
        (["--target", outputs], "no target can be read"),
        ([], "--reference"),
    ):
        refused([outputs, *given], why, monkeypatch, capsys)
