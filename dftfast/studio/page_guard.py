"""What a request must be before it reaches a route: of this host's own page, small, not too often.

- The host is `localhost`, an address, or a name that was given: a foreign name that was pointed at
  this machine (DNS rebinding) is none of them.
- The origin, where there is one, is the host itself. No header allows another.
- Routes under /api/ need the cookie and the token of a page; scripts that only know the routes get
  nothing.
"""

from __future__ import annotations

import ipaddress
import json
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from dftfast.studio.page_session import Sessions
from dftfast.studio.rate_limit import RateLimit

MOST_BYTES = 8 << 20  # of a request
TOKEN = "x-page-token"
_LARGE = (413, "the request is larger than 8 MiB")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
Send = Callable[[Any], Awaitable[None]]


class TooLarge(Exception):
    """A request's body goes on beyond `MOST_BYTES`."""


class PageGuard:
    """An ASGI application in front of another.

    Args:
        names: host names, besides `localhost` and addresses, under which the page is asked for.
        limits: by how a path begins or ends, the rate of requests to it; the first that fits holds.
    """

    def __init__(
        self,
        app: Callable[..., Awaitable[None]],
        sessions: Sessions,
        names: tuple[str, ...] = (),
        limits: dict[str, RateLimit] | None = None,
    ):
        self._app, self._sessions = app, sessions
        self._names, self._limits = {"localhost", *map(str.lower, names)}, limits or {}

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = _headers(scope)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _answer(send, *refusal)
            return
        size, begun = 0, False

        async def bounded() -> Any:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MOST_BYTES:
                raise TooLarge
            return message

        async def guarded(message: Any) -> None:
            nonlocal begun
            if size > MOST_BYTES and not begun:
                return  # of an application that has made an answer of its own of TooLarge
            if message["type"] == "http.response.start":
                begun = True
                message = {**message, "headers": [*message["headers"], *_own_headers()]}
            await send(message)

        with suppress(TooLarge):
            await self._app(scope, bounded, guarded)
        if size > MOST_BYTES and not begun:
            await _answer(send, *_LARGE)

    def _refusal(self, scope: Any, headers: dict[str, list[str]]) -> tuple | None:
        """(status, words[, headers]) of a request that goes no further."""
        host = headers.get("host", [])
        if len(host) != 1 or not self._is_ours(host[0]):
            return 421, "this server does not answer for that host name"
        origins = headers.get("origin", [])
        if any(each not in (f"http://{host[0]}", f"https://{host[0]}") for each in origins):
            return 403, "requests of other sites are not answered"
        path, method = scope["path"], scope["method"]
        site = headers.get("sec-fetch-site", ["none"])[0]
        if site not in ("same-origin", "none") and not (path == "/" and method == "GET"):
            return 403, "requests of other sites are not answered"
        length = headers.get("content-length", ["0"])[0]
        if not length.isdigit() or int(length) > MOST_BYTES:
            return _LARGE
        if path.startswith("/api/") and not self._sessions.holds(
            cookie_of(headers, self._sessions.cookie), headers.get(TOKEN, [None])[0]
        ):
            return 403, "only the page may ask for this; open it anew"
        for ending, limit in self._limits.items():
            if path.startswith(ending) or path.endswith(ending):
                wait = math.ceil(limit.wait())
                return (429, "too many requests", {"retry-after": str(wait)}) if wait else None
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
            if name in self._names:
                return True
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def cookie_of(headers: dict[str, list[str]], name: str) -> str | None:
    try:
        found = SimpleCookie("; ".join(headers.get("cookie", []))).get(name)
    except CookieError:
        return None
    return found.value if found else None


def _headers(scope: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


def _own_headers() -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in _HEADERS.items()]


async def _answer(send: Send, status: int, words: str, headers: dict | None = None) -> None:
    body = json.dumps({"error": words}).encode()
    own = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    lines = [(name.encode(), value.encode()) for name, value in own.items()]
    start = {"type": "http.response.start", "status": status, "headers": [*lines, *_own_headers()]}
    await send(start)
    await send({"type": "http.response.body", "body": body})
