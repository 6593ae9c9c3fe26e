"""Two thousand requests to every route: no error of the server's own, nothing without a page."""

from __future__ import annotations

import json
import random
from collections import Counter

import httpx2
from page_server import BRIEF, EMPTY, page_client, served

from dftfast.studio import make_app
from dftfast.studio.local_writer import LocalWriter

REQUESTS = 2000
TEXTS = [
    *("", "A. B!", "🙂 “One.”\nTwo — three.", "<script>alert(1)</script>", "\u0000\u200b"),
    *("x" * 5000, "<!-- dftfast-ignore: a -->", "<!-- dftfast-ignore-file -->", "<think>"),
    "\ud800",
]
VALUES = [None, True, 0, -1, 3, 2**63, 1e308, [], {}, [[]], ["a", None], *TEXTS]


class Fuzz:
    """Requests by the schema, often a little wrong."""

    def __init__(self, schema: dict, identifiers: list[str], seed: int):
        self.draw, self.schemas = random.Random(seed), schema["components"]["schemas"]
        self.identifiers = [*identifiers, "0" * 12, "..%2fsession.key", "%00", "é", "a" * 300]
        self.routes = [
            (method.upper(), path, route.get("requestBody"))
            for path, methods in schema["paths"].items()
            for method, route in methods.items()
        ]

    def request(self) -> tuple[str, str, str | None]:
        method, path, body = self.draw.choice(self.routes)
        # one more is for the drafts that are there than for all that are not
        wanted = self.identifiers[:2] if self.draw.random() < 0.7 else self.identifiers
        path = path.replace("{identifier}", self.draw.choice(wanted))
        if method == "DELETE" and self.draw.random() < 0.95:
            method = "GET"
        if body is None:
            return method, path, None
        value = self.value(body["content"]["application/json"]["schema"])
        raw = json.dumps(value, ensure_ascii=True)
        return method, path, raw if self.draw.random() < 0.97 else raw[: len(raw) // 2]

    def value(self, schema: dict) -> object:
        if self.draw.random() < 0.06:
            return self.draw.choice(VALUES)
        if "$ref" in schema:
            return self.value(self.schemas[schema["$ref"].rpartition("/")[2]])
        if "anyOf" in schema:
            return self.value(self.draw.choice(schema["anyOf"]))
        kind = schema.get("type")
        if kind == "object":
            needed = schema.get("required", ())
            kept = lambda name: name in needed or self.draw.random() < 0.6
            return {n: self.value(s) for n, s in schema["properties"].items() if kept(n)}
        if kind == "array":
            return [self.value(schema["items"]) for _ in range(self.draw.randint(0, 3))]
        if kind == "integer":
            return self.draw.choice([0, 1, 2, 7, schema.get("maximum", 9)])
        if kind == "boolean":
            return self.draw.random() < 0.5
        return self.draw.choice([*TEXTS, "A walk"]) if kind == "string" else None


def test_no_request_breaks_the_server(make_desk, byte_writer: LocalWriter, monkeypatch):
    desk = make_desk()
    app = make_app(desk)
    shorter = type(byte_writer.sampler)(max_tokens=3)
    monkeypatch.setattr(byte_writer, "sampler", shorter)
    made = [desk.store.new({**EMPTY, "brief": BRIEF, "written": "", "text": "One."}) for _ in "ab"]
    fuzz = Fuzz(app.openapi(), [draft["id"] for draft in made], seed=0)
    seen = Counter()
    with (
        served(desk) as address,
        page_client(address) as page,
        httpx2.Client(base_url=address, cookies=dict(page.cookies), timeout=120) as script,
    ):
        for number in range(REQUESTS):
            method, path, body = fuzz.request()
            client = script if number % 4 == 0 else page
            headers = {"content-type": "application/json"} if body else {}
            answer = client.request(method, path, content=body, headers=headers)
            assert answer.status_code < 500, (method, path, body)
            assert "the writer failed" not in answer.text, (method, path, body)
            if client is script:
                assert answer.status_code in (403, 404, 405), (method, path)
                assert "sample" not in answer.text and "finish" not in answer.text
            else:
                seen[answer.status_code] += 1
    # the routes were reached, not only refused
    assert seen[200] > REQUESTS / 10 and seen[422] > REQUESTS / 20, seen
