"""Mutated bytes, JSON and safetensors: wrong as files are that were cut, edited or made to harm."""

from __future__ import annotations

import copy
import json
import random
import struct

HOSTILE = [
    *(None, True, 0, -1, 1, 3, 2**31, 2**63, 2**64, 10**30),
    *(0.5, -0.0, 1e308, float("inf"), float("nan")),
    *("", "0", "x" * 5000, "\ud800", "\0", "../../../etc/passwd", "/dev/zero"),
    *([], [[]], {}, {"": {}}, [None], [-1, 2**62], [2**31, 2**31]),
]


RAW = [
    *(b"", b"\0", b"\xff\xfe", b"NaN", b"1e999", b"9" * 5000, b"[" * 100_000, b'{"a":' * 50_000),
    *(b"null", b"\xed\xa0\x80", b'"', b"}{", b"\n", b"- ", b": ", b"&a [*a]"),
    *(b"!!python/object/apply:os.system [id]", b"? ", b"2001-99-99", b"%TAG ! x"),
]


def places(value: object, found: list) -> list[tuple]:
    """(container, key) of everything inside a JSON value."""
    items = list(value.items()) if isinstance(value, dict) else []
    items = list(enumerate(value)) if isinstance(value, list) else items
    for key, child in items:
        found.append((value, key))
        places(child, found)
    return found


def mutated_json(rng: random.Random, text: bytes) -> bytes:
    """One to three values replaced, deleted, doubled or swapped; or its bytes changed."""
    if rng.random() < 0.25:
        return mutated_bytes(rng, text)
    value = json.loads(text)
    for _ in range(rng.randint(1, 3)):
        inside = places(value, [])
        if not inside:
            return json.dumps(rng.choice(HOSTILE)).encode()
        container, key = rng.choice(inside)
        kind = rng.randrange(4)
        if kind == 0:
            del container[key]
        elif kind == 1 and isinstance(container, dict):
            container[rng.choice(["", "x", "__class__", key + "."])] = container[key]
        elif kind == 2:
            other, there = rng.choice(places(value, []))
            container[key] = copy.deepcopy(other[there])
        else:
            container[key] = rng.choice(HOSTILE)
    return json.dumps(value).encode("utf-8", "surrogatepass")


def mutated_bytes(rng: random.Random, content: bytes) -> bytes:
    content = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(content) + 1)
        kind = rng.randrange(5)
        if kind == 0:
            del content[at:]
        elif kind == 1:
            del content[at : at + rng.randrange(20)]
        elif kind == 2:
            content[at:at] = rng.choice(RAW)
        elif kind == 3:
            content[at : at + 1] = bytes([rng.randrange(256)])
        else:
            number = rng.choice([0, 1, 2**31, 2**63, 2**64 - 1, len(content)])
            content[at : at + 8] = struct.pack("<Q", number)
    return bytes(content)


def mutated_safetensors(rng: random.Random, content: bytes) -> bytes:
    """A changed header with the right length in front, or changed bytes (the length among them)."""
    if rng.random() < 0.3:
        return mutated_bytes(rng, content[:2000]) + content[2000:]
    length = struct.unpack("<Q", content[:8])[0]
    header = mutated_json(rng, content[8 : 8 + length])
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


def mutated_lines(rng: random.Random, content: bytes) -> bytes:
    lines = content.splitlines()
    at = rng.randrange(len(lines))
    lines[at] = mutated_json(rng, lines[at])
    return b"\n".join(lines)
