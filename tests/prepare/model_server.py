"""A server that answers the questions of `prepare`, well or badly."""

from __future__ import annotations

import json

from chat_server import completion

from dftfast.prepare.arguments import main

BRIEF = {
    "prompt": "Tell me a story of that town.",
    "use_case": "short story",
    "style": "plain and calm",
    "outline": ["somebody looks for a lamp", "nobody knows why"],
}


def lines_asked(request) -> list[tuple[int, str]] | None:
    """The numbered lines of a question about cleaning; None where a brief is asked for."""
    messages = request["messages"]
    if not messages[0]["content"].startswith("You clean documents"):
        return None
    rows = (line.partition(": ") for line in messages[1]["content"].split("\n"))
    return [(int(number), line) for number, _, line in rows]


def good(request, number=0):
    """Deletes the lines that hold one of these words; writes the same brief for every text."""
    lines = lines_asked(request)
    if lines is None:
        return completion(json.dumps(BRIEF))
    frame = ("Kestrel", "Home |", "Share on")
    return completion(
        json.dumps({"drop": [n for n, line in lines if any(f in line for f in frame)]})
    )


def bad_answers(lines) -> list[str]:
    """Answers that may not be used, about cleaning where there are lines and else about briefs."""
    if lines is not None:
        text = lines[0][1]
        return [
            "",
            "The lines 1 and 2 can go.",
            '{"drop": [1, 2',
            '{"drop": "1"}',
            '{"drop": [true]}',
            '{"drop": [99999]}',
            '{"drop": [-1]}',
            json.dumps({"drop": [n for n, _ in lines]}),
            json.dumps({"text": text.replace("e", "a")}),
            "[" * 100_000,
            "{" * 100_000,
        ]
    return [
        "",
        "null",
        '{"prompt": "A story',
        json.dumps({**BRIEF, "prompt": ""}),
        json.dumps({**BRIEF, "outline": "none"}),
        json.dumps({**BRIEF, "outline": ["in the year 12345"]}),
        json.dumps({**BRIEF, "outline": ['he said "never before"']}),
        json.dumps({**BRIEF, "outline": ["point"] * 40}),
        json.dumps({**BRIEF, "style": "long " * 100}),
        json.dumps({"brief": BRIEF}),
    ]


def prepare(folder, out, server, *options):
    """The rows that the command writes by way of the server, and the counts of its report."""
    where = ["--endpoint", f"local={server.url},m", "--out", str(out), "--yes"]
    main([str(folder), *where, *options])
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    return rows, json.loads((out.parent / "prepared.json").read_text())
