"""Drafts and passages, streamed; checks beside them."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
from chat_server import ChatServer
from page_server import BRIEF, page_client, served

from dftfast.data import Document
from dftfast.endpoint import Endpoint
from dftfast.rollout import Sampler
from dftfast.runtime.errors import UserError
from dftfast.studio.endpoint_writer import EndpointWriter
from dftfast.studio.in_thread import in_thread
from dftfast.studio.local_writer import own_sampler
from dftfast.studio.rewriting import first_passage, gap_at
from dftfast.studio.utf16 import Utf16

TEXT = "🙂 One is here. Two is there. “Three,” he said.\n\nFour stands alone."


def events(client, path, body):
    with client.stream("POST", path, json=body) as answer:
        assert answer.status_code == 200, answer.read()
        return [json.loads(line) for line in answer.iter_lines()]


def test_a_draft_is_streamed_and_kept(client, draft):
    pieces = events(client, f"/api/drafts/{draft['id']}/write", {"brief": BRIEF})
    assert [each["finish"] is not None for each in pieces].index(True) == len(pieces) - 1
    assert len(pieces) > 10
    kept = client.get(f"/api/drafts/{draft['id']}/versions").json()
    assert [each["text"] for each in kept] == ["".join(p["text"] for p in pieces).strip()]


def test_three_drafts_of_a_model(client, draft):
    *progress, _, _, last = events(client, f"/api/drafts/{draft['id']}/three", {"brief": BRIEF})
    assert progress[-1] == {"done": 6, "of": 6} and last["sample"] == 2
    kept = client.get(f"/api/drafts/{draft['id']}/versions").json()
    assert 3 <= len(kept) <= 6 and kept[0]["why"].endswith(" of 6")


def test_a_stopped_draft_is_kept_and_frees_the_engine(client, draft):
    path = f"/api/drafts/{draft['id']}/write"
    with client.stream("POST", path, json={"brief": BRIEF}) as answer:
        next(answer.iter_lines())
    assert events(client, path, {"brief": BRIEF})[-1]["finish"]
    kept = client.get(f"/api/drafts/{draft['id']}/versions").json()
    assert len(kept) >= 1


def test_a_passage_is_written_anew_in_place(client, draft):
    start = TEXT.index("Two") + 2  # units of UTF-16: one more than characters after the emoji
    body = {"brief": BRIEF, "text": TEXT, "start": start, "end": start}
    first, *found = events(client, f"/api/drafts/{draft['id']}/rewrite", body)
    units = TEXT.encode("utf-16-le")
    assert units[2 * first["start"] : 2 * first["end"]].decode("utf-16-le") == first["old"]
    assert first["old"] == "Two is there."
    assert found and all(each["text"] != first["old"] for each in found)
    paragraph = body | {"whole_paragraph": True}
    first, *_ = events(client, f"/api/drafts/{draft['id']}/rewrite", paragraph)
    assert first["old"] == TEXT.split("\n")[0]


def test_what_cannot_be_written_is_said(client, draft):
    path = f"/api/drafts/{draft['id']}"
    assert client.post(f"{path}/write", json={"brief": {}}).json()["error"].startswith("the brief")
    nothing = {"brief": BRIEF, "text": " ", "start": 0, "end": 0}
    assert client.post(f"{path}/rewrite", json=nothing).status_code == 400
    assert client.post(f"/api/drafts/{'0' * 12}/write", json={"brief": BRIEF}).status_code == 404
    long = {"brief": BRIEF | {"outline": ["x" * 1900] * 3}}
    assert "shorten it" in client.post(f"{path}/write", json=long).json()["error"]


def test_places_of_sentences_and_paragraphs():
    gap = lambda start, end, whole=False: gap_at(TEXT, start, end, whole)
    assert gap(0, 0).old == "🙂 One is here."
    two = gap(20, 20)
    assert two.before + two.old + two.after == TEXT and two.old == "Two is there."
    assert gap(5, 20).old == "🙂 One is here. Two is there."
    assert gap(len(TEXT), len(TEXT)).old == "Four stands alone."
    assert gap(0, len(TEXT), True).old == TEXT
    with pytest.raises(UserError):
        gap_at("...", 0, 0, False)


def test_the_first_sentence_of_what_a_model_wrote():
    assert first_passage(" “No,” he said. And then", False) == "“No,” he said."
    assert first_passage("She left! He", False) == "She left!"
    assert first_passage("... Well. So", False) == "... Well."
    assert first_passage("One. Two.\nThree.", True) == "One. Two."
    assert first_passage("no end", False) == "no end"


def test_places_in_units_of_utf16():
    text = "a🙂b𝄞"
    places = Utf16(text)
    assert [places.units(i) for i in range(5)] == [0, 1, 3, 4, 6]
    assert [places.place(i) for i in range(8)] == [0, 1, 1, 2, 3, 3, 4, 4]


def test_checks_of_a_draft(make_desk):
    corpus = [f"Number {i} of the texts is here. It has words. So it goes. Yes." for i in range(50)]
    desk = make_desk(corpus=corpus)
    desk.background.shutdown(wait=True)
    with served(desk) as address, page_client(address) as client:
        text = (
            "🙂 We delve into it. It sold 1,520 copies. So it is. And on it goes to the very end."
        )
        found = client.post("/api/check", json={"text": text, "brief": BRIEF}).json()
        at = {
            f["rule"]: text.encode("utf-16-le")[2 * f["start"] : 2 * f["end"]].decode("utf-16-le")
            for f in found["findings"]
        }
        assert at["model-phrases"] == "delve into" and at["outline-facts"] == "1,520"
        assert found["points"] == [
            {"text": "sold 1,250 copies", "covered": True, "facts": ["1,250"]}
        ]
        figures = {each["name"]: each for each in found["figures"]}
        assert figures["Words"]["share"] == 1 and figures["Words"]["high"] == 14
        wrong = client.post("/api/check", json={"text": "<!-- dftfast-ignore: no-rule -->"})
        assert wrong.json()["findings"][0]["rule"] == "comment"


def sse(*pieces, reason="stop"):
    """The bytes of a streamed completion."""
    chunk = lambda delta, finish=None: {
        "id": "x",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    rows = [*(chunk({"content": piece}) for piece in pieces), chunk({}, reason)]
    lines = [f"data: {json.dumps(row)}\n\n" for row in rows]
    return "".join([*lines, "data: [DONE]\n\n"]).encode()


def endpoint_writer(server):
    return EndpointWriter(Endpoint("test", server.url, "m"), Sampler(max_tokens=100))


def test_an_endpoint_writes_drafts(make_desk):
    pytest.importorskip("openai")
    stream = {"Content-Type": "text/event-stream"}
    thought = ("<thi", "nk>hm", "m</think>", "\nA w", "alk", "")
    with ChatServer(lambda request, n: (200, sse(*thought), stream)) as server:
        desk = make_desk(writer=endpoint_writer(server))
        with served(desk) as address, page_client(address) as client:
            draft = client.post("/api/drafts", json={}).json()
            path = f"/api/drafts/{draft['id']}"
            pieces = events(client, f"{path}/write", {"brief": BRIEF})
            assert "".join(piece["text"] for piece in pieces) == "A walk"
            assert server.requests[0]["max_tokens"] == 64
            three = events(client, f"{path}/three", {"brief": BRIEF})[-3:]
            assert [each["text"] for each in three] == ["A walk"] * 3
            assert len(server.requests) == 4  # each is paid for
            assert "A walk by the sea" in server.requests[0]["messages"][0]["content"]


def test_an_endpoint_writes_passages_and_its_faults_are_said(make_desk):
    pytest.importorskip("openai")
    from chat_server import completion

    texts = ["Two is there.", "Another.", "Another.", "One more."]
    answer = lambda request, n: completion(texts[n]) if n < 4 else (503, {"error": "busy"})
    with ChatServer(answer) as server:
        writer = endpoint_writer(server)
        gap = gap_at(TEXT, 20, 20, False)

        async def passages():
            return [each async for each in writer.rewrite(Document("", "", "A walk"), gap, 4)]

        assert sorted(asyncio.run(passages())) == ["Another.", "One more."]
        with pytest.raises(UserError, match="busy"):
            asyncio.run(passages())


def test_the_sampler_is_the_runs_own(tmp_path):
    (tmp_path / "generation_config.json").write_text('{"temperature": 0.9, "min_p": 0.02}')
    assert own_sampler(tmp_path, {"min_p": None}, 9) == Sampler(0.9, min_p=0.02, max_tokens=9)
    assert own_sampler(tmp_path, {"temperature": 0.5}, 9).temperature == 0.5
    assert own_sampler(tmp_path / "none", {}, 9) == Sampler(max_tokens=9)


def test_an_iterator_in_a_thread_stops_with_its_reader():
    from concurrent.futures import ThreadPoolExecutor

    closed = threading.Event()

    def numbers():
        try:
            yield from range(10**9)
        finally:
            closed.set()

    async def read():
        stream = in_thread(pool, numbers)
        first = [await anext(stream), await anext(stream)]
        await stream.aclose()
        return first

    def broken():
        yield 1
        raise ValueError("no more")

    async def read_broken():
        return [each async for each in in_thread(pool, broken)]

    with ThreadPoolExecutor(1) as pool:
        assert asyncio.run(read()) == [0, 1]
        assert closed.wait(10)
        with pytest.raises(ValueError, match="no more"):
            asyncio.run(read_broken())
