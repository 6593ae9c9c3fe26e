"""Several answers to every prompt: figures are means over the draws, checked by hand."""

import json

import numpy as np
import pytest
from evaluate_files import arguments, refused, save

from dftfast import evaluate as command
from dftfast.evaluation import (
    METRICS,
    Estimate,
    Reference,
    evaluate,
    read_results,
    terminal_table,
    verdicts,
    write_report,
    write_results,
)
from dftfast.evaluation.estimate import interval, p_value, resampling_weights, wilson
from dftfast.evaluation.text_stats import per_text
from dftfast.evaluation.two_samples import TwoSamples
from dftfast.runtime.errors import UserError

N, ROUNDS = 24, 60


@pytest.fixture
def both(sets):
    """Two draws of one system, and what they are measured against."""
    draws = [sets(N, 1, shift=0.4), sets(N, 2, shift=0.4)]
    return draws, Reference(sets(N, 0), rounds=ROUNDS, seed=3)


def test_every_figure_is_the_mean_of_the_draws(both):
    draws, reference = both
    one, two = (evaluate(draw, reference) for draw in draws)
    figures = evaluate(draws, reference)
    assert list(figures) == list(one)
    assert figures.pop("typography").reason  # the texts have neither quotation marks nor dashes
    for name, f in figures.items():
        assert f.draws == [one[name].value, two[name].value], name
        if not name.endswith(("mmd", "mmd_unseen", "mmd_characters")):
            assert f.value == pytest.approx(np.mean(f.draws)), name
            assert f.rounds == pytest.approx((one[name].rounds + two[name].rounds) / 2), name
        assert f.low - 1e-12 <= f.value <= f.high, name
        assert (f.human is None) == (one[name].human is None), name
        if f.test is not None and not name.endswith(("mmd", "mmd_unseen", "mmd_characters")):
            assert f.test.null == pytest.approx((one[name].test.null + two[name].test.null) / 2)
            assert (f.human, f.human_low, f.human_high) == f.test.human, name
        assert (f.p is None) == (one[name].p is None), name
        assert f.spread == pytest.approx(abs(one[name].value - two[name].value) / 2), name
    # the root of the mean, so that it is the root of the row beside it
    assert figures["mmd"].value == pytest.approx(np.sqrt(figures["mmd2"].value))
    assert figures["mmd"].p == figures["mmd2"].p


def u_statistic(x, y, w, h):
    """MMD² over pairs of different prompts, prompt i drawn w_i times; loops and all."""
    k = lambda a, b: np.exp(-((a - b) ** 2).sum() / (2 * h * h))
    n, within, between = len(x), 0.0, 0.0
    pairs = w.sum() ** 2 - (w**2).sum()
    for i in range(n):
        for j in range(n):
            if i != j:
                within += w[i] * w[j] * (k(x[i], x[j]) + k(y[i], y[j]))
                between += w[i] * w[j] * k(x[i], y[j])
    return (within - 2 * between) / pairs


def test_mmd_of_two_draws_by_brute_force(both):
    """Value, rounds and p from sums over pairs of prompts, each draw by itself."""
    draws, reference = both
    y = reference.texts.embeddings.astype(np.float64)
    h = reference.bandwidth
    squared = evaluate(draws, reference)["mmd2"]
    w = resampling_weights(N, ROUNDS, 3)
    of = lambda w: np.mean([u_statistic(d.embeddings.astype(np.float64), y, w, h) for d in draws])
    assert squared.value == pytest.approx(of(np.ones(N)), rel=1e-6)
    by_hand = np.array([of(each) for each in w[:6]])
    # the rounds are moved by their bias, all alike
    assert np.ptp(squared.rounds[:6] - by_hand) < 1e-9
    assert (squared.low, squared.high) == interval(squared.rounds)

    signs = 2 * TwoSamples(draws[0], reference).exchanged[:, :N] - 1

    def flipped(row):
        swap = (row < 0)[:, None]
        values = []
        for d in draws:
            x = d.embeddings.astype(np.float64)
            a, b = np.where(swap, y, x), np.where(swap, x, y)
            values.append(u_statistic(a, b, np.ones(N), h))
        return np.mean(values)

    null = np.array([flipped(row) for row in signs[:10]])
    assert squared.test.null[:10] == pytest.approx(null, abs=1e-9)
    assert squared.p == p_value(squared.value, squared.test.null)


def test_two_answers_to_a_prompt_are_never_a_pair(sets):
    """The second draw is the first again: as one set its texts would be one another's copies."""
    human, draw = sets(N, 0), sets(N, 1)
    reference = Reference(human, rounds=ROUNDS)
    once, twice = evaluate(draw, reference), evaluate([draw, draw], reference)
    assert twice.pop("typography").reason  # the texts have neither quotation marks nor dashes
    for name, f in twice.items():
        assert f.value == pytest.approx(once[name].value, abs=1e-12), name
        assert f.low == pytest.approx(once[name].low, abs=1e-12), name
        assert f.p == once[name].p and f.spread == 0, name
    assert twice["near_duplicates"].value == once["near_duplicates"].value < 1


def test_shares_have_wilsons_interval_of_each_prompts_mean(both):
    draws, reference = both
    has = [per_text(d.texts, reference.scripts)["same_start"] for d in draws]
    share = evaluate(draws, reference)["same_start"]
    assert (share.low, share.high) == wilson((has[0] + has[1]) / 2)
    none = evaluate([draws[0], draws[0]], reference)["em_dash"]
    assert none.value == 0 and none.low == pytest.approx(0) and none.high > 0.05


def test_labels_change_places_alike_in_every_draw(both):
    """Also where a text of one draw alone lacks the statistic: that pair counts as equal."""
    draws, reference = both
    draws[1].texts[4] = "Short."
    estimate = evaluate(draws, reference)["mtld"]
    signs = 2 * TwoSamples(draws[0], reference).exchanged[:, :N] - 1
    y = per_text(reference.texts.texts, reference.scripts)["mtld"]
    gaps = [per_text(d.texts, reference.scripts)["mtld"] - y for d in draws]
    assert np.isnan(gaps[1][4])
    mean = sum(np.nan_to_num(d) / np.isfinite(d).sum() for d in gaps) / 2
    assert estimate.p == p_value(abs(mean.sum()), np.abs(signs @ mean))


def test_a_metric_that_one_draw_lacks_is_undefined(both):
    draws, reference = both
    draws[1].token_ids = [[1]] * N
    figures = evaluate(draws, reference)
    assert figures["token_l2_2"].value is None and figures["token_l2_2"].reason == "no 2-grams"
    assert figures["token_l2_2"].draws is None and figures["token_l2_1"].value is not None


def test_draws_in_another_order_and_with_other_prompts(both, sets):
    draws, reference = both
    turned = draws[1].select(list(np.random.default_rng(0).permutation(N)))
    first, second = evaluate(draws, reference), evaluate([draws[0], turned], reference)
    for name, f in first.items():
        assert second[name].value == pytest.approx(f.value), name
    with pytest.raises(UserError, match="1 ids are missing, the first is 'p23'"):
        evaluate([draws[0], draws[1].select(range(N - 1))], reference)
    with pytest.raises(UserError, match="without a draw"):
        evaluate([], reference)


def test_independent_samples_have_draws_too(sets):
    draws = [sets(30, k, prefix="q") for k in (1, 2)]
    figures = evaluate(draws, Reference(sets(N, 0), rounds=ROUNDS))
    assert figures["mmd2"].value == pytest.approx(np.mean(figures["mmd2"].draws))
    assert figures["mtld"].p is not None and figures["bleu"].value is None


def test_results_table_and_report_say_how_many_draws(both, sets, tmp_path):
    draws, reference = both
    other = [sets(N, 5, shift=1), sets(N, 6, shift=1)]
    results = {"sft": evaluate(other, reference), "dft": evaluate(draws, reference)}
    path = write_results(tmp_path, results, "dft")
    record = json.loads(path.read_text())["systems"]["dft"]["mmd2"]
    assert record["draws"] == results["dft"]["mmd2"].draws and read_results(path) == results
    name, comparison = verdicts(results, "dft")["mmd2"]
    assert name == "sft" and comparison.verdict == "better"
    sft, dft = results["sft"]["mmd2"], results["dft"]["mmd2"]
    assert comparison.gain == sft.value - max(dft.value, min(sft.human, dft.human))
    table = terminal_table(results, "dft")
    assert "means over 2 answers to each prompt" in table.caption
    column = [c for c in table.columns if c.header == "±"][1]
    assert METRICS["mmd"].format(results["dft"]["mmd"].spread) in list(column.cells)
    shown = {"human": reference.texts, "sft": other[0], "dft": draws[0]}
    page = write_report(tmp_path, results, shown, candidate="dft").read_text()
    assert "means over 2 answers to each prompt" in page
    assert "means over 2 answers" in (tmp_path / "report.md").read_text()


def test_results_of_one_draw_read_as_before(both, tmp_path):
    draws, reference = both
    results = {"dft": evaluate(draws[0], reference)}
    path = write_results(tmp_path, results)
    assert "draws" not in path.read_text() and read_results(path) == results
    table = terminal_table(results)
    assert "draws" not in table.caption and "±" not in [c.header for c in table.columns]
    assert Estimate(value=1.0).spread is None


@pytest.mark.parametrize("order", ["a draw after another", "a prompt after another"])
def test_files_with_several_texts_an_id(order, files, sets, tmp_path, monkeypatch, capsys):
    (first, _), human = files
    rows = [
        [json.dumps({"id": i, "text": t}) for i, t in zip(s.ids, s.texts)]
        for s in (sets(30, 1), sets(30, 2))
    ]
    lines = (
        [*rows[0], *rows[1]]
        if order.startswith("a draw")
        else [r for two in zip(*rows) for r in two]
    )
    several = tmp_path / "several.jsonl"
    several.write_text("\n".join(lines))
    out = tmp_path / "out"
    command.main(arguments([several], human, "--out", str(out), "--limit", "20"))
    figure = read_results(out / "results.json")["several"]["length_mean"]
    means = [np.mean([len(t.split()) for t in sets(30, k).texts[:20]]) for k in (1, 2)]
    assert figure.draws == pytest.approx(means) and figure.value == pytest.approx(np.mean(means))
    several.write_text("\n".join(lines[:-1]))
    message = "id 'p0' has 2 texts and id 'p29' has 1; every id needs the same number"
    refused(arguments([several], human), message, monkeypatch, capsys)
    save(tmp_path / "human.jsonl", sets(30, 0))
    doubled = tmp_path / "human.jsonl"
    doubled.write_text(doubled.read_text() * 2)
    refused(arguments([first], doubled), "'p0' was used before", monkeypatch, capsys)
