import re
from html.parser import HTMLParser

import numpy as np
import pytest

from dftfast.evaluation import Reference, evaluate, write_report
from dftfast.evaluation.report.page import highlight, sampler_of, short

_VOID = {"meta", "br", "line", "circle", "rect", "path"}


class _Balance(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.links = [], []

    def handle_starttag(self, tag, attributes):
        self.links += [v for k, v in attributes if k in ("src", "href")]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in _VOID:
            assert self.open.pop() == tag


@pytest.fixture
def run(sets):
    human = sets(40, 0)
    reference = Reference(human, rounds=40)
    names = [f"sft T={t:g} top-p=1 top-k=0" for t in (0.6, 0.8, 1.0)]
    generations = {n: sets(40, k + 1, shift=0.5) for k, n in enumerate(names)} | {"dft": sets(40, 9)}
    generations["dft"].texts[0] = "<script>alert('&')</script> Once upon a time."
    return {n: evaluate(g, reference) for n, g in generations.items()}, generations | {"human": human}


def test_page_is_whole_self_contained_and_escaped(run, tmp_path):
    results, generations = run
    page = write_report(tmp_path, results, generations, candidate="dft").read_text(encoding="utf-8")
    parser = _Balance()
    parser.feed(page)
    assert parser.open == [] and parser.links == []
    assert "http" not in page and "<script" not in page
    assert "&lt;script&gt;" in page
    assert "nan" not in re.sub(r"<p>.*?</p>", "", page, flags=re.S).lower().split()
    assert "dft is better than the best of 3 baselines on" in page
    assert page.count('class="candidate"') >= 5  # the dotted line in each plot by temperature
    for prompt in ("Prompt 0", "Prompt 39"):
        assert prompt in page
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "report.md"]


def test_markdown_has_every_system(run, tmp_path):
    results, generations = run
    write_report(tmp_path, results, generations, candidate="dft")
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    rows = [line for line in text.split("## All figures")[1].splitlines() if line.startswith("|")]
    assert len({row.count("|") for row in rows}) == 1
    for name in ("sft T=0.6", "sft T=1", "dft", "human"):
        assert any(row.startswith(f"| {name} |") for row in rows)


def test_page_without_a_candidate_without_embeddings(run, tmp_path):
    results, generations = run
    bare = {"one": generations["dft"], "human": generations["human"]}
    bare["one"].embeddings = None
    results = {"one": evaluate(bare["one"], Reference(bare["human"], rounds=30))}
    page = write_report(tmp_path, results, bare).read_text(encoding="utf-8")
    assert "set of texts can be told from the human texts" in page


def test_training_curves_come_from_the_log(run, tmp_path):
    results, generations = run
    (tmp_path / "log.jsonl").write_text('{"stage": "sft/a", "step": 1, "loss": 3.0}\n{"stage": "sft/a", "step": 2, "loss": 2.5}\n'
                                        '{"stage": "dft", "phase": 0, "score": 1.0}\n{"stage": "dft", "pha')
    page = write_report(tmp_path, results, generations, candidate="dft").read_text(encoding="utf-8")
    assert "Training loss" in page and "by phase" in page


def test_highlight_marks_words_not_parts_and_escapes():
    assert str(highlight("A <b> Delve, into it; delver", ["delve into"])) == "A &lt;b&gt; <mark>Delve, into</mark> it; delver"
    assert str(highlight("no. change", ["no change"])) == "no. change"


def test_names_tell_the_sampler():
    assert sampler_of("sft-lr0.001 T=0.8 top-p=0.95 top-k=0") == {"temperature": 0.8, "top_p": 0.95, "top_k": 0}
    assert short("sft T=1 top-p=1 top-k=0") == "sft T=1" and short("sft T=1 top-p=0.9 top-k=50") == "sft T=1 top-p=0.9 top-k=50"


def test_one_temperature_and_equal_values_still_plot():
    from dftfast.evaluation.report.plots import lines, scatter, strip

    assert "circle" in lines({"a": [(1.0, 0.0, None, None)]}, x_title="temperature")
    assert "NaN" not in strip([("ours", 0.0, 0.0, 0.0)], None) and "nan" not in scatter({"a": np.zeros((3, 2))})
