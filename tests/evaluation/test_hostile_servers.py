"""Answers of chat endpoints and of detectors that are broken, endless, dear or somebody else's."""

import json
import re
import socket
import threading

import numpy as np
import pytest
from chat_server import ChatServer, completion

from dftfast.data.document import parse_row
from dftfast.endpoint import AnswerCache, Budget, Calls, ChatClient, ChatRequest, Endpoint, Limits
from dftfast.endpoint.guard import MOST_BYTES
from dftfast.endpoint.texts import generate_texts
from dftfast.evaluation.detectors import HTTPDetector
from dftfast.runtime.errors import UserError

JSON = {"Content-Type": "application/json"}
PACKED = {**JSON, "Content-Encoding": "gzip"}


def ask(behave, tmp_path, cap=None):
    with ChatServer(behave) as server:
        client = ChatClient(Endpoint("m", server.url, "m", (1, 10)), 20)
        limits = Limits(1, None, 20, 2, 0.02, 0.1)
        calls = Calls(client, AnswerCache(tmp_path / "a"), limits, Budget(cap))
        requests = [ChatRequest(k, [{"role": "user", "content": "q"}], 16) for k in "ab"]
        answers = [a and (a.text, a.tokens) for a in calls.run(requests)]
        return answers, calls, server


def usage(prompt, answer):
    counts = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": 1}
    return {**completion("A"), "usage": counts}


@pytest.mark.parametrize(
    "counts", [(10**400, 1), (-(10**9), 0), (None, None), (5, -1), ("many", 1), (float("nan"), 1)]
)
def test_counts_of_tokens_that_cannot_be_cost_as_much_as_they_can(counts, tmp_path):
    answers, calls, server = ask(lambda *_: usage(*counts), tmp_path)
    assert answers == [("A", None)] * 2 and len(server.requests) == 2
    most = calls.client.endpoint.cost(*ChatRequest("", [{"content": "q"}], 16).most_tokens)
    assert calls.tally.spent == pytest.approx(2 * most)


def said(content):
    choice = {"index": 0, "finish_reason": "stop"}
    message = {"role": "assistant", "content": content}
    return {**completion(""), "choices": [{**choice, "message": message}]}


@pytest.mark.parametrize(
    "content, text",
    [
        ([{"type": "text", "text": "A"}, {"type": "text", "text": "B"}], "AB"),
        ([{"type": "thinking", "thinking": [{"text": "hm"}]}, {"type": "text", "text": "A"}], "A"),
        ("They want a letter.\n</think>\n\nDear Bob,", "Dear Bob,"),
        ("<think>hm</think>Dear Bob,", "Dear Bob,"),
        ("<think>never ends", ""),
        ("Dear <think> Bob", "Dear <think> Bob"),
    ],
)
def test_what_is_no_thought_is_the_text(content, text, tmp_path):
    answers, _, _ = ask(lambda *_: said(content), tmp_path)
    assert answers == [(text, (100, 1))] * 2


@pytest.mark.parametrize(
    "answer",
    [(200, b"[" * 200_000, JSON), (200, b"x" * (MOST_BYTES + 1), JSON), (200, b"\x1f\x8b", PACKED)],
)
def test_an_answer_that_is_none_is_tried_again_and_given_up(answer, tmp_path):
    answers, _, server = ask(lambda *_: answer, tmp_path)
    assert answers == [None, None] and len(server.requests) == 4


@pytest.mark.parametrize(
    "answer, message",
    [
        ((200, b"<html>Welcome</html>", {"Content-Type": "text/html"}), "is the URL the base of"),
        ((307, b"", {"Location": "http://localhost:9/x"}), "redirects to http://localhost:9/x"),
        ((301, b"", {"Location": "http://localhost:9/x"}), "give the URL that answers"),
    ],
)
def test_an_address_that_is_no_api_ends_it_at_once(answer, message, tmp_path):
    asked = []
    with pytest.raises(UserError, match=message):
        ask(lambda body, _: asked.append(body) or answer, tmp_path)
    assert len(asked) == 1


def test_a_page_of_a_server_that_has_answered_is_a_failed_try(tmp_path):
    page = (200, b"<html>Busy</html>", {"Content-Type": "text/html"})
    answers, calls, server = ask(lambda _, n: page if n == 1 else completion("A"), tmp_path)
    assert [text for text, _ in answers] == ["A", "A"] and len(server.requests) == 3
    assert calls.tally.spent == pytest.approx(2 * calls.client.endpoint.cost(100, 1))


@pytest.mark.parametrize("empty", [1, 3])
def test_empty_answers_are_said_and_nothing_else_is_no_result(empty, tmp_path, caplog):
    documents = [parse_row({"title": f"t{i}", "text": "x"}) for i in range(3)]
    behave = lambda _, n: completion("" if n < empty else "Text", reason="length")
    sampler = {"temperature": 1.0, "top_p": 1.0, "max_tokens": 9, "seed": 0}
    with ChatServer(behave) as server:
        endpoint = Endpoint("m", server.url, "m")
        run = lambda: generate_texts(documents, endpoint, tmp_path / "o", sampler)
        if empty == 3:
            with pytest.raises(SystemExit) as exit_:
                run()
            assert exit_.value.code == 1
        else:
            assert len(run()[0]) == 3
    assert f"{empty} of 3 answers are empty, {empty} of them at the token limit" in caplog.text


def raw_server(raw):
    """Answers every connection with these bytes and closes it; its URL."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            connection, _ = listening.accept()
            with connection:
                head, body = b"", b""
                while b"\r\n\r\n" not in head:
                    head += connection.recv(9999)
                head, _, body = head.partition(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head.lower())
                while length and len(body) < int(length[1]):
                    body += connection.recv(9999)
                connection.sendall(raw)

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listening.getsockname()[1]}/"


def plain(body, head=b""):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n" % (len(body), head) + body


BROKEN = {
    "lost inside a chunk": b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{"p":',
    "no HTTP": b"garbage\r\n\r\n",
    "deep JSON": plain(b'{"p":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "a number of 400 digits": plain(b'{"p": 1' + b"0" * 400 + b"}"),
    "a wait that is no number": b"HTTP/1.1 429 S\r\nRetry-After: \xb2\r\nContent-Length: 0\r\n\r\n",
    "a wait without an end": b"HTTP/1.1 429 S\r\nRetry-After: inf\r\nContent-Length: 0\r\n\r\n",
    "headers without an end": b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 300 + b"\r\n{}",
    "too large": plain(b" " * (MOST_BYTES + 1)),
    "packed": plain(b"\x1f\x8b", b"Content-Encoding: gzip\r\n"),
}


def described(tmp_path, url, **more):
    file = tmp_path / "d.yaml"
    file.write_text(
        json.dumps({"url": url, "body": {"t": "{text}"}, "probability": "p", "of": "human", **more})
    )
    return file


@pytest.mark.parametrize("case", BROKEN)
def test_a_detector_that_answers_nonsense_has_no_answer(case, tmp_path):
    file = described(tmp_path, raw_server(BROKEN[case]))
    limits = Limits(1, None, 20, 2, 0.02, 0.1)
    detector = HTTPDetector("d", file, AnswerCache(tmp_path / "a"), limits)
    assert np.isnan(detector.human_probability(["a b"])).all()


def test_detectors_are_inside_the_cap(tmp_path):
    with ChatServer(lambda *_: {"p": 0.5}) as server:
        file = described(tmp_path, server.url, price=0.01)
        budget = Budget(0.025)
        limits = Limits(1, None, 20, 2, 0.02, 0.1)
        detector = HTTPDetector("d", file, AnswerCache(tmp_path / "a"), limits, budget)
        measured = detector.human_probability(["a", "b", "c", "d"])
        assert np.isfinite(measured).sum() == len(server.requests) == 2
        assert budget.spent == pytest.approx(0.02)
