"""What is imported is declared, and what is declared is imported."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it where Python does not have it

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OWN_NAME = {  # module -> distribution, where they differ
    "charset_normalizer": "charset-normalizer",
    "docx": "python-docx",
    "harper": "harper-py",
    "huggingface_hub": "huggingface-hub",
    "mauve": "mauve-text",
    "sentence_transformers": "sentence-transformers",
    "sklearn": "scikit-learn",
    "stdnum": "python-stdnum",
    "yaml": "pyyaml",
}
# torch.utils.tensorboard imports the one, justext (in trafilatura) the other
BY_OTHERS = {"tensorboard", "lxml-html-clean"}


def names(requirements):
    return {re.match(r"[\w.-]+", line).group().lower() for line in requirements}


BASE = names(PROJECT["dependencies"])
EXTRAS = {
    name
    for extra, lines in PROJECT["optional-dependencies"].items()
    if extra not in ("test", "docs", "dev")
    for name in names(lines)
}


def imports():
    """(file, line, distribution, whether inside a function) of every third-party import."""
    files = [*(ROOT / "dftfast").rglob("*.py"), *(ROOT / "kernels").rglob("*.py")]
    for path in files:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        later = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            else:
                continue
            for module in (name.partition(".")[0] for name in modules):
                if module != "dftfast" and module not in sys.stdlib_module_names:
                    yield path, node.lineno, OWN_NAME.get(module, module), id(node) in later


def test_imports_are_declared():
    for path, line, distribution, later in imports():
        where = f"{path.relative_to(ROOT)}:{line}: {distribution}"
        assert distribution in BASE | EXTRAS, f"{where} is not declared"
        # a Triton kernel's file is itself imported only where a GPU is
        lazy = later or path.parent.name == "triton"
        assert distribution in BASE or lazy, f"{where} is only in an extra: import it in a function"


def test_what_is_declared_is_imported():
    used = {distribution for _, _, distribution, _ in imports()}
    for name in BASE | (EXTRAS - BY_OTHERS - {"trl", "datasets"}):
        assert name in used, f"{name} is declared but never imported"


def test_version_is_in_one_place():
    import dftfast

    assert "version" in PROJECT["dynamic"]
    assert importlib.metadata.version("dftfast") == dftfast.__version__
