"""dftfast/_C.pyi names and types what the compiled module exports: no more, no less."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import dftfast
from dftfast import _C

STUB = Path(dftfast.__file__).with_name("_C.pyi")
KINDS = {  # a kind of argument, and how stub and pybind11 (2.13 to 3) write it
    "weights": "DecoderWeights",
    "tile": "RbfTile",
    "sequence": "Sequence",
    "float": "[Ff]loat",
    "bool": "bool",
    "int": "_Address|[Ii]nt",
}


def kind(annotation: str) -> str:
    return next(name for name, pattern in KINDS.items() if re.search(pattern, annotation))


def exported() -> dict[str, object]:
    return {name: value for name, value in vars(_C).items() if not name.startswith("_")}


def written() -> dict[str, ast.FunctionDef | ast.ClassDef]:
    body = ast.parse(STUB.read_text(encoding="utf-8")).body
    return {node.name: node for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def signature(docstring: str) -> tuple[list[str], str]:
    """Kinds of the arguments, and what is returned, from the first line of pybind11's docstring."""
    line = docstring.strip().splitlines()[0]
    return [kind(text) for text in re.split(r"arg\d+: ", line)[1:]], line.split(" -> ")[-1]


def test_names():
    assert sorted(written()) == sorted(exported())


def test_signatures():
    for name, node in written().items():
        value, function = exported()[name], node
        assert ast.get_docstring(node), name
        if isinstance(node, ast.ClassDef):
            (function,) = (part for part in node.body if isinstance(part, ast.FunctionDef))
            value = value.__init__
        assert not function.args.args, f"{name}: the module takes its arguments by position only"
        arguments = [a for a in function.args.posonlyargs if a.arg != "self"]
        stated = [kind(ast.unparse(a.annotation)) for a in arguments], ast.unparse(function.returns)
        assert stated == signature(value.__doc__), name
