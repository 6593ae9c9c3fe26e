"""Requests to an API that fails in every way: each is repeated, counted or reported, none is paid
for twice."""

import json
import signal
import subprocess
import sys
import time

import pytest
from chat_server import ChatServer, completion

from dftfast.endpoint import AnswerCache, Budget, Calls, ChatClient, ChatRequest, Endpoint, Limits
from dftfast.runtime.errors import UserError

FAST = Limits(concurrency=4, timeout=0.5, attempts=5, first_wait=0.01, longest_wait=0.1)
KEY = "sk-secret-5f2c"


def requests(count, **parameters):
    return [
        ChatRequest(f"k{i}", [{"role": "user", "content": f"Question {i}"}], 16, parameters)
        for i in range(count)
    ]


def number_of(body):
    return int(body["messages"][0]["content"].split()[-1])


def calls(server, tmp_path, limits=FAST, budget=None, prices=None, droppable=("temperature",)):
    endpoint = Endpoint("mine", server.url, "m", prices)
    return Calls(
        ChatClient(endpoint, limits.timeout, droppable),
        AnswerCache(tmp_path / "a.jsonl"),
        limits,
        budget or Budget(),
    )


def echo(body, number):
    return completion(f"answer {number_of(body)}")


TROUBLE = [
    (429, {"error": {"message": "slow down"}}),
    (500, {"error": {"message": "oops"}}),
    (503, b"<html>busy</html>"),
    30.0,
    (200, b"not json", {"Content-Type": "application/json"}),
    {"choices": []},
    {"choices": [{"message": None}]},
    [1, 2],
    (200, b"", {"Content-Length": "100"}),
    None,
]


@pytest.mark.parametrize("trouble", TROUBLE, ids=lambda t: str(t)[:30])
def test_every_kind_of_trouble_is_tried_again(trouble, tmp_path):
    """Every request meets it once; all are answered, and progress counts each once."""
    met = set()

    def behave(body, number):
        i = number_of(body)
        if i in met:
            return echo(body, number)
        met.add(i)
        return trouble

    with ChatServer(behave) as server:
        done, c = [], calls(server, tmp_path)
        answers = c.run(requests(6), done.append)
    assert [a.text for a in answers] == [f"answer {i}" for i in range(6)]
    assert (c.tally.asked, c.tally.retries, c.tally.failed, c.tally.kept) == (12, 6, 0, 0)
    assert (c.tally.prompt_tokens, c.tally.completion_tokens) == (600, 6) and sum(done) == 6


def test_answers_are_kept_and_asked_for_once(tmp_path):
    with ChatServer(echo) as server:
        first = calls(server, tmp_path, prices=(1.0, 2.0)).run(requests(5))
        again = calls(server, tmp_path, prices=(1.0, 2.0))
        assert again.run(requests(7))[:5] == first and len(server.requests) == 7
    assert (
        again.tally.kept == 5
        and again.tally.spent == pytest.approx(2 * 102e-6)
        and again.tally.cost == pytest.approx(7 * 102e-6)
    )


def test_a_run_that_dies_goes_on_from_its_answers(tmp_path):
    """The endpoint goes away after three answers; the last line on disk is cut short, as a crash
    leaves it."""
    behave = lambda body, number: (
        echo(body, number) if number < 3 else (503, {"error": {"message": "gone"}})
    )
    one = Limits(concurrency=1, timeout=20, attempts=2, first_wait=0.01)
    with ChatServer(behave) as server:
        with pytest.raises(
            UserError, match=r"3 requests in a row failed 2 times each.*gone.*goes on from there"
        ):
            calls(server, tmp_path, one).run(requests(10))
    path = tmp_path / "a.jsonl"
    path.write_bytes(path.read_bytes()[:-8])
    with ChatServer(echo) as server:
        answers = calls(server, tmp_path, Limits(timeout=20)).run(
            requests(10)
        )  # patient: a busy machine answers late
        assert [a.text for a in answers] == [f"answer {i}" for i in range(10)] and len(
            server.requests
        ) == 8
    assert len(AnswerCache(path)._answers) == 10


SCRIPT = """
import sys
from dftfast.endpoint import AnswerCache, Calls, ChatClient, ChatRequest, Endpoint, Limits
messages = [[{"role": "user", "content": f"Question {i}"}] for i in range(40)]
requests = [ChatRequest(f"k{i}", message, 16) for i, message in enumerate(messages)]
client = ChatClient(Endpoint("mine", sys.argv[1], "m"))
Calls(client, AnswerCache(sys.argv[2]), Limits(concurrency=4)).run(requests)
"""


def test_a_killed_process_loses_only_what_was_under_way(tmp_path):
    """SIGKILL at the twentieth request; another process goes on."""

    def behave(body, number):
        if number == 20:
            process.kill()
        return echo(body, number)

    with ChatServer(behave) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, server.url, str(tmp_path / "a.jsonl")]
        )
        assert process.wait(120) == -signal.SIGKILL
        asked = len(server.requests)
        c = calls(server, tmp_path)
        assert [a.text for a in c.run(requests(40))] == [f"answer {i}" for i in range(40)]
        assert asked - FAST.concurrency <= c.tally.kept == 40 - (len(server.requests) - asked)


def test_one_refused_request_does_not_stop_the_others(tmp_path):
    behave = lambda body, number: (
        (400, {"error": {"message": "content policy"}})
        if number_of(body) == 2
        else echo(body, number)
    )
    with ChatServer(behave) as server:
        c = calls(server, tmp_path)
        answers = c.run(requests(5))
        assert (
            [a is None for a in answers] == [False, False, True, False, False]
            and c.tally.failed == 1
            and len(server.requests) == 5
        )


@pytest.mark.parametrize(
    "status, body, complaint",
    [
        (
            401,
            {"error": {"message": f"Incorrect API key provided: {KEY}"}},
            r"not allowed: .*\[key\].* MINE_API_KEY",
        ),
        (404, {"error": {"message": "no model m"}}, "nothing there for model 'm'"),
        (429, {"error": {"message": "pay first", "code": "insufficient_quota"}}, "no credit"),
    ],
)
def test_what_fails_every_request_stops_at_once_and_shows_no_key(
    status, body, complaint, tmp_path, monkeypatch
):
    monkeypatch.setenv("MINE_API_KEY", KEY)
    with ChatServer(lambda *_: (status, body)) as server:
        with pytest.raises(UserError, match=complaint) as error:
            calls(server, tmp_path).run(requests(40))
        assert len(server.requests) <= 2 * FAST.concurrency and KEY not in str(error.value)


def test_keys_go_to_their_own_endpoint_and_nowhere_else(tmp_path, monkeypatch, caplog):
    for name, value in {
        "OPENAI_API_KEY": "sk-other",
        "OPENAI_ORG_ID": "org-x",
        "OPENAI_PROJECT_ID": "proj-x",
        "OPENAI_ADMIN_KEY": "sk-admin",
        "OTHER_API_KEY": "sk-third",
    }.items():
        monkeypatch.setenv(name, value)
    caplog.set_level("DEBUG")
    with ChatServer(echo) as server:
        calls(server, tmp_path).run(requests(1))
        monkeypatch.setenv("MINE_API_KEY", KEY + "\n")
        calls(server, tmp_path).run(requests(2))
        without, own = server.headers
    assert own["authorization"] == f"Bearer {KEY}" and without["authorization"] == "Bearer none"
    sent = json.dumps(server.headers)
    assert not any(
        secret in sent for secret in ("sk-other", "org-x", "proj-x", "sk-admin", "sk-third")
    )
    assert KEY not in caplog.text and KEY not in (tmp_path / "a.jsonl").read_text()
    assert Endpoint("any", "https://api.openai.com/v1", "m").key() == "sk-other"
    assert Endpoint("any", "https://api.openai.com.evil.example/v1", "m").key() is None


def test_the_cap_holds_whatever_happens(tmp_path):
    """Every call costs 0.01; hangs are counted as if they had been answered in full."""
    behave = lambda body, number: 30.0 if number == 4 else completion("A", 0, 10)
    limits = Limits(concurrency=4, timeout=0.3, attempts=3, first_wait=0.01)
    with ChatServer(behave) as server:
        c = calls(server, tmp_path, limits, Budget(0.105), prices=(0.0, 1000.0))
        answers = c.run(requests(40))
    assert c.tally.capped and c.tally.spent <= 0.105 and c.budget.spent == c.tally.spent
    assert (
        sum(a is not None for a in answers) == round((c.tally.spent - 0.016) / 0.01) >= 7
    )  # the hang cost 16 tokens
    with ChatServer(behave) as server:
        richer = calls(server, tmp_path, limits, Budget(10.0), prices=(0.0, 1000.0))
        assert all(richer.run(requests(40))) and richer.tally.kept == sum(
            a is not None for a in answers
        )
        with pytest.raises(UserError, match="--max-cost: mine has no prices"):
            calls(server, tmp_path, budget=Budget(1.0))


def test_some_at_a_time(tmp_path):
    def behave(body, number):
        time.sleep(0.03)
        return echo(body, number)

    with ChatServer(behave) as server:
        assert all(calls(server, tmp_path).run(requests(20))) and server.most == FAST.concurrency


def test_rate_and_the_servers_own_pause(tmp_path):
    with ChatServer(echo) as server:
        calls(server, tmp_path, Limits(concurrency=8, per_minute=1200, timeout=5)).run(requests(8))
        assert server.times[-1] - server.times[0] >= 7 * 0.05 * 0.9
    busy = lambda body, number: (
        (429, {"error": {"message": "wait"}}, {"Retry-After": "0.4"})
        if number == 0
        else echo(body, number)
    )
    with ChatServer(busy) as server:
        start = time.monotonic()
        calls(server, tmp_path / "b", Limits(concurrency=1, timeout=5, longest_wait=5)).run(
            requests(2)
        )
        assert server.times[1] - server.times[0] >= 0.4 and time.monotonic() - start < 5


def test_parameters_that_an_endpoint_does_not_take(tmp_path):
    """As models do that reason: neither a temperature nor max_tokens."""

    def behave(body, number):
        for name in ("temperature", "max_tokens"):
            if name in body:
                hint = "use max_completion_tokens" if name == "max_tokens" else ""
                return 400, {
                    "error": {"message": f"Unsupported parameter: {name}. {hint}", "param": name}
                }
        return echo(body, number)

    with ChatServer(behave) as server:
        c = calls(server, tmp_path, Limits(concurrency=1))
        assert all(c.run(requests(3, temperature=0))) and len(server.requests) == 5
        assert server.requests[-1]["max_completion_tokens"] == 16 and c.client.dropped == {
            "temperature"
        }
        refused = calls(server, tmp_path / "b", droppable=())
        assert refused.run(requests(2, temperature=0)) == [None, None] and refused.tally.failed == 2


def test_thoughts_are_no_part_of_the_answer(tmp_path):
    texts = ["<think>A or B?\nA.</think>\n\nB", "<think>never ends", "plain"]
    with ChatServer(lambda body, number: completion(texts[number_of(body)])) as server:
        assert [a.text for a in calls(server, tmp_path).run(requests(3))] == ["B", "", "plain"]
