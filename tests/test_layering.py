"""Who may import whom, and what importing costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import dftfast
import dftfast.kernels

ROOMS = {  # room -> the rooms that it may import; `runtime` and the compiled module are anyone's
    "runtime": set(),
    "kernels": set(),
    "model": {"kernels"},
    "rollout": {"kernels", "model"},
    "distribution": {"kernels"},
    "integrations": {"kernels", "distribution"},
    "data": set(),
    "endpoint": {"data"},
    "evaluation": {"kernels", "model", "rollout", "distribution", "data", "endpoint"},
    "writing": {"distribution", "data", "evaluation"},
    "prepare": {"model", "rollout", "data", "endpoint"},
    "optimise": {"kernels", "model"},
    "dft": {"kernels", "model", "rollout", "distribution", "optimise"},
    "baselines": {"kernels", "model", "distribution", "optimise", "dft"},
    "config": set(),
    "pipeline": {
        *("kernels", "model", "rollout", "distribution", "data", "endpoint", "evaluation"),
        *("optimise", "dft", "baselines", "config"),
    },
    "studio": {
        *("model", "rollout", "distribution", "data", "endpoint", "writing"),
        *("optimise", "pipeline"),
    },
    "planning": {
        *("kernels", "model", "rollout", "data", "optimise", "dft", "config", "pipeline"),
    },
}
COMMANDS = {"target", "train", "generate", "evaluate", "push", "plan", "check", "write", "env"}
DISPATCH = {"dftfast", "dftfast.__main__"}  # what may import a command


def modules():
    """Dotted name -> file of every module, `dftfast.kernels` included."""
    found = {}
    for package, root in (
        ("dftfast", Path(dftfast.__file__).parent),
        ("dftfast.kernels", Path(dftfast.kernels.__file__).parent),
    ):
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join([package, *(part for part in parts if part != "__init__")])] = path
    return found


def imported(module, path):
    """Dotted names below dftfast that a file imports, at the top or inside functions."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = [*(above if node.level else []), *([node.module] if node.module else [])]
            names = [".".join([*base, alias.name]) for alias in node.names]
        yield from (name for name in names if name.startswith("dftfast."))


def inside(room):
    """Dotted name -> file of the modules of a room."""
    own = lambda name: f"{name}.".startswith(f"dftfast.{room}.")
    found = {name: path for name, path in modules().items() if own(name)}
    assert found
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_what_they_may(room):
    allowed = ROOMS[room] | {"runtime", "_C", room}
    for module, path in inside(room).items():
        for name in imported(module, path):
            assert name.split(".")[1] in allowed, f"{path} imports {name}"


@pytest.mark.parametrize("room", ROOMS)
def test_modules_of_a_room_import_one_another_in_one_direction(room):
    """Imports inside functions and for type checkers count, too."""
    files = inside(room)
    graph = {module: set() for module in files}
    for module, path in files.items():
        for name in imported(module, path):
            known = [each for each in files if f"{name}.".startswith(f"{each}.")]
            graph[module] |= {max(known, key=len)} if known else set()
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise AssertionError(" -> ".join(reversed(error.args[1]))) from None


def test_every_folder_is_a_room():
    folders = {path.parent.name for path in Path(dftfast.__file__).parent.glob("*/__init__.py")}
    assert folders <= set(ROOMS)


def test_nothing_imports_a_command():
    found = modules()
    assert {f"dftfast.{command}" for command in COMMANDS} <= found.keys()
    for module, path in found.items():
        used = {name.split(".")[1] for name in imported(module, path)}
        assert module in DISPATCH or not used & COMMANDS, path


@pytest.mark.parametrize(
    "statement, absent",
    [
        ("import dftfast.kernels", {"transformers", "sentence_transformers", "sklearn"}),
        ("import dftfast.writing, dftfast.evaluation.text_stats", {"torch", "scipy", "sklearn"}),
        (
            "import dftfast.train, dftfast.generate, dftfast.evaluate, dftfast.plan, "
            "dftfast.check, dftfast.write, dftfast.target",
            {"torch", "transformers", "sklearn", "matplotlib", "fastapi"},
        ),
    ],
)
def test_imports_stay_light(statement, absent):
    script = f"{statement}; import sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not absent & set(loaded)
