"""The house rules that a machine can keep: how long things may be, and what they may be called."""

from __future__ import annotations

import ast
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINES, COLUMNS, FUNCTION_LINES, PARAMETERS = 300, 100, 60, 7
ENDINGS = {".py", ".cpp", ".h"}
ELSEWHERE = {"build", "dist", "node_modules", "__pycache__"}  # where there is no git to ask
KERNEL_ROOMS = {Path("kernels"), Path("kernels/reference"), Path("kernels/triton")}


def tracked() -> list[str]:
    """Paths of the project's files, as git has them or else as they lie there."""
    if not (ROOT / "pyproject.toml").exists():
        pytest.skip("these tests are not beside the project's files")
    listing = ["git", "-C", str(ROOT), "ls-files", "-z"]
    try:
        found = subprocess.run(listing, capture_output=True, text=True, check=True).stdout
        names = found.split("\0")
    except (OSError, subprocess.CalledProcessError):
        names = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*")]
        hidden = lambda part: part.startswith(".") or part in ELSEWHERE
        names = [name for name in names if not any(map(hidden, Path(name).parts))]
    return sorted(name for name in names if (ROOT / name).is_file())


def listed(found: dict[str, object]) -> str:
    return "\n".join(f"{where}: {what}" for where, what in found.items())


@pytest.fixture(scope="module")
def sources() -> dict[str, list[str]]:
    """Path -> lines of every source file."""
    read = lambda name: (ROOT / name).read_text(encoding="utf-8").splitlines()
    found = {name: read(name) for name in tracked() if Path(name).suffix in ENDINGS}
    assert "tests/test_house.py" in found or len(found) > 100
    return found


@pytest.fixture(scope="module")
def functions(sources) -> list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """(where, function) of every Python function."""
    return [
        (f"{name}:{node.lineno} {node.name}", node)
        for name, lines in sources.items()
        if name.endswith(".py")
        for node in ast.walk(ast.parse("\n".join(lines)))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]


def test_files_are_short(sources):
    long = {name: len(lines) for name, lines in sources.items() if len(lines) > LINES}
    assert not long, listed(long)


def test_lines_are_short(sources):
    long = {
        f"{name}:{number}": len(line)
        for name, lines in sources.items()
        for number, line in enumerate(lines, 1)
        if len(line) > COLUMNS
    }
    assert not long, listed(long)


def num_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
    return node.end_lineno - first + 1


def test_functions_are_short(functions):
    count = {where: num_lines(node) for where, node in functions}
    long = {where: lines for where, lines in count.items() if lines > FUNCTION_LINES}
    assert not long, listed(long)


def num_parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """`*args` and `**options` count; `self` and `cls` do not."""
    given = node.args
    named = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    named = named[1:] if named[:1] in (["self"], ["cls"]) else named
    return len(named) + sum(each is not None for each in (given.vararg, given.kwarg))


def test_functions_take_few_parameters(functions):
    """Launchers and operators of kernels, and their tests, take what their kernels take."""
    kernels = ("kernels/", "tests/kernels/")
    elsewhere = [(where, node) for where, node in functions if not where.startswith(kernels)]
    count = {where: num_parameters(node) for where, node in elsewhere}
    many = {where: number for where, number in count.items() if number > PARAMETERS}
    assert not many, listed(many)


def test_counts_of_a_function():
    text = "@a\n@b(\n  1)\ndef f(x, /, y, *args, z=1, **more):\n  pass\n"
    assert num_lines(ast.parse(text).body[0]) == 5
    assert num_parameters(ast.parse(text).body[0]) == 5
    assert num_parameters(ast.parse("def f(self, x): pass").body[0]) == 1


def test_a_file_name_stands_for_one_thing(sources):
    """The twins of a kernel are one thing: kernels/_x.py, reference/x.py and triton/x.py."""
    places = defaultdict(set)
    for name in map(Path, sources):
        package = name.parts[0] in ("dftfast", "kernels") and name.suffix == ".py"
        if not package or name.stem in ("__init__", "__main__"):
            continue
        if name.parent in KERNEL_ROOMS:
            places[name.stem.removeprefix("_")].add("kernels")
        else:
            places[name.stem].add(str(name.parent))
    twice = {stem: sorted(where) for stem, where in places.items() if len(where) > 1}
    assert not twice, listed(twice)
