"""The wheel is whole: every public name is imported from it, and it holds what is not Python."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDED = (
    "dftfast/py.typed",
    "dftfast/kernels/__init__.py",
    "dftfast/kernels/triton/rms_norm.py",
    "dftfast/kernels/triton/tiles.json",
    "dftfast/evaluation/report/report.html.j2",
    "dftfast/presets/default.yaml",
    "dftfast/studio/page/index.html",
)
IMPORT_ALL = """
import importlib, pkgutil, sys, dftfast
assert dftfast.__file__.startswith(sys.argv[1]), dftfast.__file__
found = [m.name for m in pkgutil.walk_packages(dftfast.__path__, "dftfast.") if m.ispkg]
assert "dftfast.kernels" in found, found
for name in ["dftfast", *found]:
    if name.endswith((".triton", ".integrations")):
        continue
    module = importlib.import_module(name)
    assert module.__file__.startswith(sys.argv[1]), module.__file__
    for public in getattr(module, "__all__", []):
        getattr(module, public)
assert callable(dftfast.train) and callable(dftfast.generate) and callable(dftfast.evaluate)
"""

if (ROOT / "dftfast" / "_C.pyi").exists():
    NEEDED = (*NEEDED, "dftfast/_C.pyi")


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    ready = all(map(importlib.util.find_spec, ("scikit_build_core", "pybind11")))
    how = ["--no-build-isolation"] if ready else []
    setting = f"build-dir={folder}/build"
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", *how, "-w", str(folder)]
    run(*command, "-C", setting, str(ROOT))
    return next(folder.glob("*.whl"))


def test_wheel_holds_what_is_not_python(wheel):
    held = set(zipfile.ZipFile(wheel).namelist())
    assert not [name for name in NEEDED if name not in held]
    assert any(name.startswith("dftfast/_C.") and name.endswith(".so") for name in held)


def test_public_names_come_from_the_wheel(wheel, tmp_path):
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target)]
    run(*pip, str(wheel))
    # -S leaves out the .pth file of an editable install, which would find the checkout
    path = os.pathsep.join([str(target), sysconfig.get_paths()["purelib"]])
    script = [sys.executable, "-S", "-c", IMPORT_ALL, str(target)]
    run(*script, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path})


@pytest.mark.slow
def test_an_empty_environment_takes_the_wheel(wheel, tmp_path):
    run(sys.executable, "-m", "venv", str(tmp_path / "env"))
    binaries = tmp_path / "env" / "bin"
    run(str(binaries / "pip"), "install", "-q", str(wheel))
    run(str(binaries / "python"), "-c", IMPORT_ALL, str(tmp_path / "env"), cwd=tmp_path)
    assert "usage: dftfast" in run(str(binaries / "dftfast"), "--help", cwd=tmp_path)
