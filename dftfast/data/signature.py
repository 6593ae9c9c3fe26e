"""The signature of a class or function as its source has it.

Unlike what `ast.unparse` gives, it is the same in every version of Python.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

_LONGEST = 160  # characters; a longer signature says little about the text


def is_property(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a decorator has "property" in its name, as `functools.cached_property` has."""
    return any(
        "property" in (node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", ""))
        for decorator in function.decorator_list
        for node in ast.walk(decorator)
    )


def signature(node: ast.AST, lines: Sequence[str]) -> str:
    """The bases or parameters of `node` in parentheses, from the lines of its source.

    An annotation or default of more than one line is written "...", and so are parameters of over
    160 characters. A module, a property and a class without bases, or with so many, give "".
    """
    if isinstance(node, ast.ClassDef):
        inner = ", ".join(_segment(base, lines) for base in node.bases)
        return f"({inner})" if inner and len(inner) <= _LONGEST else ""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not is_property(node):
        inner = ", ".join(_parameters(node.args, lines))
        return f"({inner})" if len(inner) <= _LONGEST else "(...)"
    return ""


def _parameters(arguments: ast.arguments, lines: Sequence[str]) -> list[str]:
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    defaults += arguments.defaults
    written = [_parameter(a, d, lines) for a, d in zip(positional, defaults)]
    if arguments.posonlyargs:
        written.insert(len(arguments.posonlyargs), "/")
    if arguments.vararg:
        written.append("*" + _parameter(arguments.vararg, None, lines))
    elif arguments.kwonlyargs:
        written.append("*")
    written += [
        _parameter(a, d, lines) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults)
    ]
    if arguments.kwarg:
        written.append("**" + _parameter(arguments.kwarg, None, lines))
    return written


def _parameter(argument: ast.arg, default: ast.expr | None, lines: Sequence[str]) -> str:
    annotation = f": {_segment(argument.annotation, lines)}" if argument.annotation else ""
    if default is None:
        return argument.arg + annotation
    equals = " = " if annotation else "="
    return argument.arg + annotation + equals + _segment(default, lines)


def _segment(node: ast.expr, lines: Sequence[str]) -> str:
    """The source of an expression; positions in a line count bytes of UTF-8."""
    if node.lineno != node.end_lineno:
        return "..."
    line = lines[node.lineno - 1].encode()
    return line[node.col_offset : node.end_col_offset].decode()
