"""Checks of a set for a build: judged on intervals, told to people, JUnit and GitHub."""

import json
from xml.etree import ElementTree

import pytest
import yaml
from evaluation.evaluate_files import arguments, refused

from dftfast import evaluate
from dftfast.evaluation.ci_report import as_annotations, as_junit, as_markdown
from dftfast.evaluation.estimate import Estimate
from dftfast.evaluation.slop.overused import Overused
from dftfast.evaluation.thresholds import Check, Checks, PhraseLimit, judge_figures


def judged(figures=None, phrases=(), count=100, **checks):
    return [c.passed for c in judge_figures(Checks(**checks), "m", figures or {}, phrases, count)]


@pytest.mark.parametrize(
    "value, low, high, passed",
    [
        (0.7, 0.55, 0.8, True),  # beyond the limit, but so may chance
        (0.7, 0.61, 0.8, False),
        (0.5, 0.4, 0.6, True),
        (0.7, None, None, False),  # no interval: the figure itself
        (None, None, None, False),  # what is not known has not passed
    ],
)
def test_max(value, low, high, passed):
    assert judged({"c2st": Estimate(value, low, high)}, max={"c2st": 0.6}) == [passed]


@pytest.mark.parametrize(
    "low, high, passed",
    [(0.1, 0.3, True), (0.0, 0.05, False), (0.31, 0.5, False), (0.05, 0.1, True)],
)
def test_within_human(low, high, passed):
    f = Estimate((low + high) / 2, low, high, human=0.2, human_low=0.1, human_high=0.3)
    assert judged({"em_dash": f}, within_human=["em_dash"]) == [passed]
    assert judged({"em_dash": Estimate(0.2, 0.1, 0.3)}, within_human=["em_dash"]) == [False]


def test_p_above():
    figures = {"mmd": Estimate(0.1, p=0.02), "jsd": Estimate(0.1, p=0.01), "mtld": Estimate(1.0)}
    assert judged(figures, p_above={"mmd": 0.01, "jsd": 0.01, "mtld": 0.01}) == [True, False, False]


@pytest.mark.parametrize(
    "outputs, human, p, passed",
    [
        (0.3, 0.0, 0.001, False),
        (0.3, 0.0, 0.2, True),  # not significant
        (0.0, 0.3, 0.001, True),  # underused
        (0.04, 0.0, 0.001, True),  # of 100 texts so many may be chance where 2% hold it
    ],
)
def test_no_phrase_over(outputs, human, p, passed):
    row = Overused("a tapestry of", outputs, human, 9.0, p)
    limit = PhraseLimit(share=0.02, p=0.05)
    assert judged(phrases=[row], no_phrase_over=limit) == [passed]


@pytest.fixture
def run(files, tmp_path):
    """Runs the command with checks; whether it ended with status 1, and the folder."""

    def run(checks, name="out"):
        outputs, human = files
        file = tmp_path / "checks.yaml"
        file.write_text(yaml.safe_dump(checks, sort_keys=False))
        more = ["--check", str(file), "--out", str(tmp_path / name)]
        try:
            evaluate.main(arguments(outputs[:1], human, *more))
        except SystemExit as exit_:
            return exit_.code, tmp_path / name
        return 0, tmp_path / name

    return run


def test_a_build_fails_and_says_why(run, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    code, out = run({"max": {"near_duplicates": 0, "mmd": 9}, "no_phrase_over": {"share": 0.9}})
    assert code in (0, 1)
    suite = ElementTree.parse(out / "junit.xml").getroot()
    names = [case.get("name") for case in suite]
    assert names == ["max near_duplicates", "max mmd", "no_phrase_over"]
    shown = capsys.readouterr().out
    assert shown.count("::error ") == int(suite.get("failures", "-1"))
    code, out = run({"max": {"mtld": 0.5}})
    assert code == 1
    shown = capsys.readouterr().out
    assert "0 of 1 checks passed" in shown and "FAILED" in shown
    assert "::error title=" in shown and "at most 0.5" in shown
    assert "**fail**" in (tmp_path / "summary.md").read_text()


def test_not_worse_than_an_evaluation_before(run, capsys, tmp_path):
    code, out = run({"p_above": {"mmd": 1e-9}}, "before")
    assert code == 0
    before = out / "results.json"
    code, out = run({"not_worse_than": "before/results.json"}, "after")
    assert code == 0  # the same texts
    record = json.loads(before.read_text())
    (figures,) = record["systems"].values()
    at_human = {"value": figures["length_mean"]["human"], "low": None, "high": None}
    for metric in ("same_start", "length_mean"):
        human = figures[metric]["human"]
        figures[metric] |= at_human | {"value": human, "low": human, "high": human}
    before.write_text(json.dumps(record))
    code, out = run({"not_worse_than": "before/results.json"}, "after")
    failed = [
        case.get("name")
        for case in ElementTree.parse(out / "junit.xml").getroot()
        if case.find("failure") is not None
    ]
    now = json.loads((out / "results.json").read_text())["systems"]
    (figures,) = now.values()
    for metric in ("same_start", "length_mean"):
        f = figures[metric]
        inside = f["human_low"] <= f["value"] <= f["human_high"]
        apart = f["human"] < f["low"] or f["human"] > f["high"]
        assert (f"not_worse_than {metric}" in failed) == (apart and not inside)
    assert code == bool(failed)


@pytest.mark.parametrize(
    "content, message",
    [
        ("max: {c3st: 1}", "there is no figure 'c3st'"),
        ("maximum: {c2st: 1}", "maximum: Extra inputs"),
        ("{}", "has no check"),
        ("max: [", "cannot be read"),
        ("not_worse_than: nowhere.json", "not a results.json"),
        ("no_phrase_over: {share: 2}", "no_phrase_over.share"),
    ],
)
def test_bad_files_are_refused_before_the_work(
    content, message, files, tmp_path, monkeypatch, capsys
):
    outputs, human = files
    (tmp_path / "checks.yaml").write_text(content)
    given = arguments(outputs[:1], human, "--check", str(tmp_path / "checks.yaml"))
    refused(given, message, monkeypatch, capsys)


def test_hostile_names_stay_text():
    check = Check("a|b<x>\x00", "max mmd", False, "50%: no\n::error::x, | `y`")
    assert as_annotations([check]).count("\n") == 1
    assert "title=a|b<x>\x00%3A max mmd::50%25: no%0A" in as_annotations([check])
    case = ElementTree.fromstring(as_junit([check]).split("?>")[1])[0]
    assert case.get("classname") == "a|b<x>"
    (row,) = [line for line in as_markdown([check]).splitlines() if "fail" in line]
    assert row.replace("\\|", "").count("|") == 5 and "\\<x\\>" in row
