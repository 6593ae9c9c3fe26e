"""Who is answered: the page, and nobody else."""

from __future__ import annotations

import socket

import httpx2
import pytest
from page_server import BRIEF, EMPTY, page_client, served

from dftfast.studio.page_guard import MOST_BYTES
from dftfast.studio.rate_limit import RateLimit


def routes(app):
    """(method, path) of every route of the page's own requests."""
    return [
        (method.upper(), path.replace("{identifier}", "0" * 12))
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    ]


def test_a_script_that_knows_the_routes_gets_nothing(desk, address):
    from dftfast.studio import make_app

    known = routes(make_app(desk))
    assert len(known) > 10
    desk.store.new({"brief": BRIEF, "text": "secret"})
    with page_client(address) as page, httpx2.Client(base_url=address) as script:
        script.cookies = page.cookies  # even with the cookie of an open page
        bare = httpx2.Client(base_url=address, headers={"x-page-token": "0" * 64})
        for method, path in known:
            for client in (script, bare):
                answer = client.request(method, path, json={"brief": BRIEF, "drafts": 1})
                assert answer.status_code == 403, (method, path)
                assert "secret" not in answer.text and "sample" not in answer.text


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("host", "evil.example", 421),
        ("host", "127.0.0.1.evil.example:80", 421),
        ("host", "[::1", 421),
        ("host", "localhost:1", 200),
        ("origin", "http://evil.example", 403),
        ("origin", "null", 403),
        ("origin", "http://[", 403),
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "same-site", 403),
        ("sec-fetch-site", "same-origin", 200),
        ("x-page-token", "\u00e9" * 64, 403),
        ("cookie", "a=\x7f; =;;", 403),
    ],
)
def test_requests_of_others_are_refused(client, header, value, status):
    given = {header: value.encode("latin-1")}
    if header == "cookie":
        client.cookies.clear()
    answer = client.get("/api/drafts", headers=given)
    assert answer.status_code == status, answer.text
    assert "access-control-allow-origin" not in answer.headers


def test_own_names_are_answered(make_desk):
    with served(make_desk(names=("write.example",))) as address:
        get = lambda host: httpx2.get(f"{address}/", headers={"host": host}).status_code
        assert (get("write.example"), get("WRITE.example:80"), get("other.example")) == (
            200,
            200,
            421,
        )


def test_the_page_allows_only_its_own_files(client):
    answer = client.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert "httponly" in answer.headers.get("set-cookie", "httponly").lower()
    assert client.get("/page/app.js").headers["content-type"].startswith("text/javascript")


@pytest.mark.parametrize(
    "path",
    ["..%2fapp.py", "%2e%2e/app.py", "index.html", "..%5c..%5csession.key", "%00", "a" * 999],
)
def test_no_other_file_is_served(client, path):
    assert client.get(f"/page/{path}").status_code in (404, 405)


@pytest.mark.parametrize("identifier", ["..%2fsession", "%2e%2e", "session.key", "0" * 13, "%00"])
def test_no_other_file_is_a_draft(client, identifier):
    assert client.get(f"/api/drafts/{identifier}").status_code == 404
    assert client.delete(f"/api/drafts/{identifier}").status_code in (404, 405)


def test_too_large_a_request_ends(client):
    assert client.post("/api/check", content=b" " * (MOST_BYTES + 1)).status_code == 413

    def pieces():
        for _ in range(9):
            yield b" " * (1 << 20)

    assert client.post("/api/check", content=pieces()).status_code == 413


def test_too_many_requests_wait(make_desk):
    now = [0.0]
    desk = make_desk(limits={"/write": RateLimit(60, 2, lambda: now[0])})
    with served(desk) as address, page_client(address) as client:
        draft = client.post("/api/drafts", json=EMPTY).json()
        ask = lambda: client.post(f"/api/drafts/{draft['id']}/write", json={"brief": BRIEF})
        assert [ask().status_code for _ in range(3)] == [200, 200, 429]
        assert ask().headers["retry-after"] == "1"
        now[0] = 1.0
        assert ask().status_code == 200


def test_a_password_is_asked_for(make_desk):
    with served(make_desk(password="correct horse")) as address:
        client = httpx2.Client(base_url=address)
        assert 'type="password"' in client.get("/").text and not client.cookies
        wrong = client.post("/login", data={"password": "correct"})
        assert wrong.status_code == 403 and not client.cookies
        right = client.post("/login", data={"password": "correct horse"})
        assert right.status_code == 303
        assert "page-token" in client.get("/").text
    # another password: the cookie is worth nothing
    with served(make_desk(password="another horse")) as address:
        again = httpx2.get(f"{address}/", cookies=dict(client.cookies))
        assert 'type="password"' in again.text


def test_a_page_goes_on_after_the_server_was_killed(make_desk):
    with served(make_desk()) as address, page_client(address) as client:
        token, cookies = client.headers["x-page-token"], dict(client.cookies)
    with served(make_desk()) as address:
        given = {"x-page-token": token}
        assert httpx2.get(f"{address}/api/drafts", headers=given, cookies=cookies).json() == []


def test_a_web_socket_is_refused(address):
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            b"GET /api/drafts HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert b" 403 " in connection.recv(4096).split(b"\r\n")[0]
