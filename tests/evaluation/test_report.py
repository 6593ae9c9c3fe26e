import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from dftfast.evaluation import Reference, ReportContext, evaluate, write_report
from dftfast.evaluation.report.names import sampler_of, short
from dftfast.evaluation.report.shown_samples import highlight

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
    generations = {n: sets(40, k + 1, shift=0.5) for k, n in enumerate(names)} | {
        "dft": sets(40, 9)
    }
    generations["dft"].texts[0] = "<script>alert('&')</script> Once upon a time."
    return {n: evaluate(g, reference) for n, g in generations.items()}, generations | {
        "human": human
    }


def test_page_is_whole_self_contained_and_escaped(run, tmp_path):
    results, generations = run
    page = write_report(tmp_path, results, generations, candidate="dft").read_text(encoding="utf-8")
    parser = _Balance()
    parser.feed(page)
    assert parser.open == [] and parser.links == []
    assert "http:" not in page and "https:" not in page and "<script" not in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert "&lt;script&gt;" in page
    assert "nan" not in re.sub(r"<p>.*?</p>", "", page, flags=re.S).lower().split()
    assert "dft is better than the best of 3 baselines on" in page
    assert page.count('class="candidate"') >= 5  # the dotted line in each plot by temperature
    for prompt in ("Prompt 0", "Prompt 39"):
        assert prompt in page
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "report.json", "report.md"]


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
    assert "one cannot be told from the human texts" in page and "Text" in page


HOSTILE = (
    "</p></main><script>alert(1)</script>",
    '"><img src=x onerror="alert(1)">',
    "| a | b |\n# head\n```",
    "{{ 7 * 7 }} {% raw %}",
    "\u202egnirts\x00\x1b[31m",
    "\ud800 lone",
    "[x](javascript:alert(1)) <!-- " + "long " * 3000,
)


def test_hostile_outputs_prompts_and_names_stay_text(run, tmp_path):
    results, generations = run
    generations["dft"].texts[:] = [HOSTILE[i % len(HOSTILE)] for i in range(40)]
    generations["human"].prompts[:] = [HOSTILE[i % len(HOSTILE)] for i in range(40)]
    name = 'sft <b onclick="x">T=2</b> & | `'
    results[name], generations[name] = results["dft"], generations["dft"]
    page = write_report(
        tmp_path,
        results,
        generations,
        candidate=name,
        context=ReportContext(
            token_name=lambda t: HOSTILE[t % len(HOSTILE)], about={"embedder": HOSTILE[0]}
        ),
        samples=40,
    ).read_text(encoding="utf-8")
    parser = _Balance()
    parser.feed(page)
    assert parser.open == [] and parser.links == []
    assert (
        not {"script", "img", "b onclick"} & set(re.findall(r"<([a-z ]+)", page))
        and " 49 " not in page
    )
    assert len(page) < 3_000_000
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "<script" not in text and "\n# head" not in text
    assert (
        len(
            {
                row.replace("\\|", "").count("|")
                for row in text.split("## All figures")[1].splitlines()
                if row.startswith("|")
            }
        )
        == 1
    )
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["candidate"] == name


def test_sweep_is_drawn_along_each_parameter_and_by_data(sets, tmp_path):
    human = sets(30, 0)
    reference = Reference(human, rounds=30)
    names = [
        f"lora lr=0.001 data={d:g} T={t:g} top-p={p:g} top-k={k}"
        for d in (0.25, 1)
        for t in (0.7, 1)
        for p in (0.9, 1)
        for k in (0, 50)
    ]
    generations = {n: sets(30, i + 1, shift=0.3) for i, n in enumerate(names)} | {
        "dft": sets(30, 99),
        "human": human,
    }
    results = {n: evaluate(g, reference) for n, g in generations.items() if n != "human"}
    page = write_report(
        tmp_path, results, generations, candidate="dft", context=ReportContext(reference)
    ).read_text(encoding="utf-8")
    for title in ("By temperature", "By top-p", "By top-k"):
        assert f"<h2>{title}</h2>" in page
    top_k = page.split("<h2>By top-k</h2>")[1].split("</details>\n")[0]
    assert ">50</text>" in top_k and ">off</text>" in top_k and 'class="candidate"' in top_k
    effect = json.loads((tmp_path / "report.json").read_text())["effect_of_data"]
    assert [(row["share"], row["settings"]) for row in effect] == [(0.25, 8), (1.0, 8)]
    assert effect[0]["best"]["mmd"] == min(results[n]["mmd"].value for n in names[:8])


def test_training_curves_come_from_the_log(run, tmp_path):
    results, generations = run
    (tmp_path / "log.jsonl").write_text(
        '{"stage": "sft/a", "step": 1, "loss": 3.0}\n{"stage": "sft/a", "step": 2, "loss": 2.5}\n'
        '{"stage": "dft", "phase": 0, "score": 1.0}\n{"stage": "dft", "pha'
    )
    page = write_report(tmp_path, results, generations, candidate="dft").read_text(encoding="utf-8")
    assert "Training loss" in page and "by phase" in page


def test_every_phase_is_shown_and_why_one_was_given_up(run, tmp_path):
    results, generations = run
    (tmp_path / "dft").mkdir()
    validation = {"mmd": 0.001, "1-grams": 0.002, "style": 0.01, "unseen": 0.02}
    records = [
        {
            "phase": 0,
            "score": 0.0,
            "validation": validation,
            "collapse": {"length": 50.5, "entropy": 2.5},
            "kept": True,
        },
        {
            "phase": 1,
            "kept": True,
            "score": -0.25,
            "validation": validation,
            "collapse": {"length": 51.5, "entropy": 2.25, "kl": 0.0625},
        },
        {"phase": 2, "dropped": ["entropy 1.0 nats a token, <at> the start 2.5"], "kept": False},
    ]
    (tmp_path / "dft" / "phases.json").write_text(json.dumps(records))
    write_report(tmp_path, results, generations, candidate="dft")
    page = (tmp_path / "report.html").read_text()
    assert (
        "51.5" in page and "-0.25" in page and "0.0625" in page and page.count("<td>kept</td>") == 2
    )
    assert "entropy 1.0 nats a token, &lt;at&gt; the start" in page
    phases = json.loads((tmp_path / "report.json").read_text())["phases"]
    assert [row["kept"] for row in phases] == [True, True, False] and phases[2][
        "dropped"
    ] == records[2]["dropped"]
    assert "| 2 |" in (tmp_path / "report.md").read_text()
    (tmp_path / "dft" / "phases.json").write_text('[{"phase"')
    write_report(tmp_path, results, generations, candidate="dft")
    assert "Phases of distribution" not in (tmp_path / "report.html").read_text()


def test_highlight_marks_words_not_parts_and_escapes():
    assert (
        str(highlight("A <b> Delve, into it; delver", ["delve into"]))
        == "A &lt;b&gt; <mark>Delve, into</mark> it; delver"
    )
    assert str(highlight("no. change", ["no change"])) == "no. change"


def test_names_tell_the_sampler():
    assert sampler_of("sft-lr0.001 T=0.8 top-p=0.95 top-k=0") == {
        "temperature": 0.8,
        "top_p": 0.95,
        "top_k": 0,
    }
    assert (
        short("sft T=1 top-p=1 top-k=0") == "sft T=1"
        and short("sft T=1 top-p=0.9 top-k=50") == "sft T=1 top-p=0.9 top-k=50"
    )


def test_one_temperature_and_equal_values_still_plot():
    from dftfast.evaluation.report.plots import lines, scatter, strip

    assert "circle" in lines({"a": [(1.0, 0.0, None, None)]}, x_title="temperature")
    assert "NaN" not in strip([("red", 0.0, 0.0, 0.0)], None)
    assert "nan" not in scatter({"a": np.zeros((3, 2))}, {"a": "red"})
