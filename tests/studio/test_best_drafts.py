"""Three drafts are those of six with the fewest findings."""

from __future__ import annotations

import asyncio

from page_server import BRIEF, page_client, served
from test_page_writing import events

from dftfast.studio.best_drafts import Draft, fewest_findings
from dftfast.studio.corpus_figures import CorpusFigures
from dftfast.studio.page_requests import Brief
from dftfast.studio.writer import Piece
from dftfast.writing import default_rules

CLEAN = "The path was wet. We walked on until the lamp was lit, and nobody said much about it."
ERROR = "We delve into the path. It was wet, and nobody said much about it until the lamp was lit."


def offered(*texts, brief=None, corpus=None):
    drafts = [each if isinstance(each, Draft) else Draft(each, "stop") for each in texts]
    return fewest_findings(drafts, brief or Brief(prompt="A walk"), default_rules(), corpus)


def test_errors_decide_before_length():
    found = offered(ERROR, f"{ERROR} We delve into it.", CLEAN, f"{ERROR} {ERROR} {ERROR}")
    assert [each["text"] for each in found[:2]] == [CLEAN, ERROR]
    assert [each["errors"] for each in found] == [0, 1, 2]
    assert [each["sample"] for each in found] == [0, 1, 2]


def test_warnings_decide_between_equal_errors():
    strange = CLEAN.replace("wet", "we\u200bt")
    (first, second) = offered(strange, CLEAN)
    assert first["text"] == CLEAN and second["warnings"] + second["errors"] > 0


def test_length_decides_last():
    short, longer = "The path was wet.", CLEAN
    asked = lambda n: Brief(prompt="A walk", words=n)
    corpus = CorpusFigures([CLEAN] * 9)
    first = lambda **given: offered(short, longer, **given)[0]["text"]
    assert first() == short  # as they were written
    assert first(corpus=corpus) == longer
    assert first(corpus=corpus, brief=asked(5)) != longer


def test_what_was_cut_off_or_is_empty_comes_last():
    found = offered(Draft("", "stop"), Draft(CLEAN, "length"), ERROR)
    assert [each["text"] for each in found] == [ERROR, CLEAN, ""]


class Scripted:
    """A writer that knows its six texts."""

    name, state, candidates = "script", "ready", 6
    texts = (ERROR, f"{ERROR} {ERROR}", CLEAN, "", f"{CLEAN} It rained.", f"{ERROR} We delve.")

    async def write(self, brief, drafts):
        for sample, text in enumerate(self.texts[:drafts]):
            half = len(text) // 2
            yield Piece(sample, text[:half])
            await asyncio.sleep(0)
            yield Piece(sample, text[half:], "stop")

    async def rewrite(self, brief, gap, count):
        yield gap.old

    def close(self):
        pass


def test_the_page_is_told_how_far_it_is_and_then_the_three(make_desk):
    brief = BRIEF | {"outline": []}
    with served(make_desk(writer=Scripted())) as address, page_client(address) as client:
        draft = client.post("/api/drafts", json={}).json()
        path = f"/api/drafts/{draft['id']}"
        *progress, first, second, third = events(client, f"{path}/three", {"brief": brief})
        assert [each["done"] for each in progress] == list(range(7))
        assert {first["text"], second["text"]} == {CLEAN, f"{CLEAN} It rained."}
        assert third["text"] == ERROR and third["errors"] == 1
        kept = {each["text"] for each in client.get(f"{path}/versions").json()}
        assert kept == set(Scripted.texts) - {""}
        refused = client.post(f"{path}/three", json={"brief": {}})
        assert refused.json()["error"].startswith("the brief has no prompt")
