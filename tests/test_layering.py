"""Who may import whom, and what importing costs."""

from __future__ import annotations

import ast
import subprocess
import sys
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
    "optimise": {"kernels", "model"},
    "dft": {"kernels", "model", "rollout", "distribution", "optimise"},
    "baselines": {"kernels", "model", "distribution", "optimise", "dft"},
    "config": set(),
    "pipeline": {
        *("kernels", "model", "rollout", "distribution", "data", "evaluation"),
        *("optimise", "dft", "baselines", "config"),
    },
}
COMMANDS = {"train", "generate", "evaluate"}


def modules():
    """Dotted name -> file of every module, ``dftfast.kernels`` included."""
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
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = (
                ".".join(package.split(".")[: len(package.split(".")) - node.level + 1])
                if node.level
                else ""
            )
            base = ".".join(part for part in (base, node.module) if part)
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.startswith("dftfast."))


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_what_they_may(room):
    files = {
        name: path for name, path in modules().items() if f"{name}.".startswith(f"dftfast.{room}.")
    }
    assert files
    for module, path in files.items():
        for name in imported(module, path):
            assert name.split(".")[1] in ROOMS[room] | {"runtime", "_C", room}, f"{path} imports {name}"


def test_nothing_imports_a_command():
    for module, path in modules().items():
        assert not {"dftfast.train", "dftfast.generate", "dftfast.evaluate"} & set(
            imported(module, path)
        ), path


@pytest.mark.parametrize(
    "statement, absent",
    [
        ("import dftfast.kernels", {"transformers", "sentence_transformers", "sklearn"}),
        (
            "import dftfast.train, dftfast.generate, dftfast.evaluate",
            {"torch", "transformers", "sklearn", "matplotlib"},
        ),
    ],
)
def test_imports_stay_light(statement, absent):
    script = f"{statement}; import sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not absent & set(loaded)
