"""Rules that are fitted pass the corpus, and are kept in files."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from dftfast.check import main
from dftfast.data.document import Document
from dftfast.runtime.errors import UserError
from dftfast.writing import check, fit_rules, load_rules, save_rules

WORDS = np.array([a + b for a in "bdfglmnprst" for b in ("ane", "oll", "ish", "urt", "evi")])


def human(i: int) -> Document:
    """A text of chance words in sentences of 4 to 14; every tenth has a phrase of the list."""
    draw = np.random.default_rng(i)
    sentences = [
        " ".join(draw.choice(WORDS, draw.integers(4, 15))) for _ in range(draw.integers(6, 12))
    ]
    tail = " Not just one, but two. In conclusion, so be it." if i % 10 == 0 else ""
    return Document(str(i), ". ".join(sentences).capitalize() + "." + tail, "a title")


@pytest.fixture(scope="module")
def corpus():
    return [human(i) for i in range(1200)]


@pytest.fixture(scope="module")
def fitted(corpus):
    model = [f"{WORDS[i]} so it goes {WORDS[-i - 1]}." for i in range(25)]
    return fit_rules(corpus, share=0.02, model_texts=model)


def test_few_human_texts_fail(fitted):
    assert fitted.texts > 200
    assert not fitted.turned_off
    assert set(fitted.rates) == {rule.name for rule in fitted.rules if rule.severity != "off"}
    assert max(fitted.rates.values()) <= 0.05  # 2% and what chance adds to 240 texts
    assert fitted.errors <= 0.05


def test_what_the_corpus_does_is_let_be(fitted, corpus):
    found = {f.rule for d in corpus[:200:10] for f in check(d.text, fitted.rules, d)}
    assert not found & {"not-but", "model-phrases"}
    assert not check("In conclusion we ate.", fitted.rules[:1])


def test_what_the_corpus_never_does_is_found(fitted, tmp_path):
    long = ". ".join([" ".join(WORDS)] * 5) + "."
    assert {"rhythm", "repetition"} <= {f.rule for f in check(long, fitted.rules)}
    learnt = check("And so it goes, my friend.", fitted.rules[:1])
    assert [f.rule for f in learnt] == ["model-phrases"]
    assert "characters" in {f.rule for f in check("Done ✅.", fitted.rules)}
    assert "foreign-script" in {f.rule for f in check("Да.", fitted.rules)}


def test_a_copy_of_the_corpus_is_found_without_its_texts(fitted, corpus, tmp_path):
    path = tmp_path / "writing.yaml"
    save_rules(path, fitted.rules, {})
    rules = load_rules(path)
    assert "bane" not in path.read_text(encoding="utf-8")
    assert [r.model_dump() for r in rules] == [r.model_dump() for r in fitted.rules]
    for document in corpus[:20]:
        text = f"And then. {document.text}"
        [found] = [f for f in check(text, rules) if f.rule == "copied-runs"]
        assert text[found.start : found.end] in document.text
        assert len(text[found.start : found.end]) > 0.9 * len(document.text) - 2
    assert not [f for f in check(human(5000).text, rules) if f.rule == "copied-runs"]
    (tmp_path / "writing.runs.npy").unlink()
    with pytest.raises(UserError, match="hashes of the rule copied-runs"):
        load_rules(path)


@pytest.mark.parametrize(
    "content, message",
    [
        ("rules: {rythm: {}}", "rythm: no such rule"),
        ("rules: {rhythm: {speed: 1}}", r"rhythm\.speed: "),
        ("rules: {not-but: {severity: bad}}", r"not-but\.severity: "),
        ("a: [", "cannot be read"),
        ("- 1", "no rules file"),
    ],
)
def test_mistakes_in_a_rules_file_are_named(tmp_path, content, message):
    path = tmp_path / "rules.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        load_rules(path)


def test_the_command_fits_and_prints_rates(tmp_path, corpus, capsys):
    import json

    source, out = tmp_path / "corpus.jsonl", tmp_path / "rules.yaml"
    rows = [{"id": d.id, "title": d.prompt, "text": d.text} for d in corpus[:300]]
    source.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    main(["--fit", str(source), "--out", str(out)])
    printed = capsys.readouterr().out
    assert "held-out human texts" in printed and "not-but" in printed and "any error" in printed
    assert yaml.safe_load(out.read_text(encoding="utf-8"))["fitted"] == {
        "texts": 300,
        "share": 0.01,
    }
    with pytest.raises(UserError, match="too few"):
        source.write_text(json.dumps(rows[0]), encoding="utf-8")
        main(["--fit", str(source)])
