"""The answer: whether a set writes like the human texts, what gives it away, in what order."""

from zlib import crc32

import pytest

from dftfast.evaluation import Reference, evaluate
from dftfast.evaluation.headline import LINES, WIDTH, terminal_answer
from dftfast.evaluation.outcome import find
from dftfast.evaluation.report.page import MAIN

CANNED = " It is not just a sentence, but a testament to all of us."


def found(sets, change, n=80):
    human = sets(n, 0)
    reference = Reference(human, rounds=200)
    texts = [change(i, t) for i, t in enumerate(sets(n, 1).texts)]
    outputs = sets(
        n, 1, texts=texts, token_ids=[[crc32(w.encode()) % 997 for w in t.split()] for t in texts]
    )
    human.token_ids = [[crc32(w.encode()) % 997 for w in t.split()] for t in human.texts]
    results = {"model": evaluate(outputs, reference)}
    return results, find(results, {"model": outputs, "human": human}, reference)


CHANGES = {
    "a canned sentence": (lambda i, t: t + CANNED * (i % 3 == 0), ("testament", "not X but Y")),
    "lower case": (lambda i, t: t.lower(), ("capitals",)),
    "a run of words": (lambda i, t: t[:20] + " the best of the best" * 8, ("the best",)),
    "em dashes": (lambda i, t: t.replace(" the ", " \u2014 the ", 1), ("dashes",)),
}


@pytest.mark.parametrize("case", CHANGES)
def test_the_first_reason_is_what_was_done(case, sets):
    change, words = CHANGES[case]
    _, findings = found(sets, change)
    finding = findings["model"]
    assert finding.told.told and "does not write like" in finding.sentence
    assert any(word in finding.reasons[0].text for word in words), finding.reasons
    assert 1 <= len(finding.reasons) <= 5
    assert all(finding.told.differs(r.metric) for r in finding.reasons if r.metric)


def test_figures_of_one_thing_are_one_reason(sets):
    _, findings = found(sets, lambda i, t: " ".join(t.split()[:6] * 5))
    finding = findings["model"]
    twins = {"mtld", "type_token_ratio"}
    assert all(finding.told.differs(metric) for metric in twins)
    assert len(twins.intersection(reason.metric for reason in finding.reasons)) == 1


def test_human_texts_have_no_reason_and_are_alike(sets):
    _, findings = found(sets, lambda i, t: t)
    finding = findings["model"]
    assert not finding.told.told and finding.reasons == [] and "length" in finding.alike
    assert "cannot be told from the human texts: of " in finding.sentence


def test_the_terminal_has_at_most_a_screen(sets):
    results, findings = found(sets, CHANGES["a canned sentence"][0])
    systems = {f"{'long ' * 8}{k}": results["model"] for k in range(30)}
    many = {name: findings["model"] for name in systems}
    for text in (
        terminal_answer(results, findings, "model", MAIN, {"report": "x", "sampler": "T"}),
        terminal_answer(systems, many, None, MAIN, {"report": "x"}),
        terminal_answer(systems, many, next(iter(systems)), MAIN, {}),
    ):
        lines = text.splitlines()
        assert len(lines) <= LINES and all(len(line) <= WIDTH for line in lines), text
    assert "30 of 30 sets of texts can be told" in terminal_answer(systems, many, None, MAIN, {})
    assert "... and 22 more" in terminal_answer(systems, many, None, MAIN, {})
