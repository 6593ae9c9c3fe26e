"""dftfast/_C.pyi names and types what the compiled module exports: no more, no less."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import dftfast
from dftfast import _C

STUB = Path(dftfast.__file__).with_name("_C.pyi")
KINDS = {  # a kind of argument, and how stub and pybind11 (2.13 to 3) write it
    "decoder": "Decoder",
    "documents": "Documents",
    "layer": "LowRank",
    "tile": "RbfTile",
    "sequence": "Sequence",
    "float": "[Ff]loat",
    "bool": "bool",
    "int": "_Address|[Ii]nt",
}


def kind(annotation: str) -> str:
    return next(name for name, pattern in KINDS.items() if re.search(pattern, annotation))


def exported() -> dict[str, Any]:
    return {name: value for name, value in vars(_C).items() if not name.startswith("_")}


def written() -> dict[str, ast.FunctionDef | ast.ClassDef]:
    body = ast.parse(STUB.read_text(encoding="utf-8")).body
    return {node.name: node for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def functions() -> list[tuple[str, ast.FunctionDef, str]]:
    """(name, stub, pybind11's docstring) of every function and method."""
    found = []
    for name, node in written().items():
        value = exported()[name]
        if isinstance(node, ast.FunctionDef):
            found.append((name, node, value.__doc__))
        else:
            methods = (part for part in node.body if isinstance(part, ast.FunctionDef))
            found += [(f"{name}.{m.name}", m, getattr(value, m.name).__doc__) for m in methods]
    return found


def signature(docstring: str) -> tuple[list[tuple[str, str]], str]:
    """Names and kinds of the arguments, and what is returned, from the docstring's first line.

    Arguments by position have the name "".
    """
    line, returned = docstring.strip().splitlines()[0].split(" -> ")
    _, *parts = re.split(r"[(,] ?(?:\*, )?(\w+): ", line)
    names = (re.sub(r"arg\d+", "", name) for name in parts[::2])
    return [(n, kind(text)) for n, text in zip(names, parts[1::2]) if n != "self"], returned


def test_names():
    assert sorted(written()) == sorted(exported())
    assert all(ast.get_docstring(node) for node in written().values())


def test_signatures():
    for name, node, docstring in functions():
        assert ast.get_docstring(node), name
        assert not [a for a in node.args.args if a.arg != "self"], f"{name}: mixed arguments"
        by_position = [("", a) for a in node.args.posonlyargs if a.arg != "self"]
        arguments = by_position + [(a.arg, a) for a in node.args.kwonlyargs]
        stated = [(called, kind(ast.unparse(a.annotation))) for called, a in arguments]
        expected, returned = signature(docstring)
        expected = [(n, k) for n, k in expected if (n, k) != ("", "decoder")]  # self, pybind11 2.13
        assert (stated, ast.unparse(node.returns)) == (expected, returned), name
