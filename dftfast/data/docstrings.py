"""A corpus that every Python installation has: the docstrings of the standard library and the installed packages.

Sources are parsed with `ast` and never imported. The text is the prose at the head of a docstring, the brief is the
qualified name with its kind and signature.
"""
from __future__ import annotations

import ast
import contextlib
import gc
import hashlib
import importlib.metadata
import json
import logging
import platform
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

from dftfast.data.prose import docstring_prose
from dftfast.data.split import hash_share, shingles
from dftfast.errors import UserError
from dftfast.files import atomic_file, cache_folder

log = logging.getLogger(__name__)
_VERSION = 2  # of this recipe: part of the cache key
_MOST_TEXTS = 10_000
_PACKAGE_BYTES = 3_000_000  # of source read of any one package, so that none dominates
_LONGEST_SIGNATURE = 160
_SKIPPED = {"test", "tests", "_vendor", "vendor", "idlelib", "lib2to3", "pydoc_data", "encodings", "site-packages",
            "dist-packages", "__pycache__", "dftfast"}


def docstring_corpus() -> Path:
    """The corpus file (JSON Lines, corpus form), made on first use and kept in the cache folder.

    It is made again when the interpreter or an installed package changes. The same installation gives the same file.
    """
    path = cache_folder() / "corpora" / f"docstrings-{_installation()}.jsonl"
    if not path.is_file():
        log.info("reading the docstrings of the standard library and the installed packages (once)")
        rows = _collect()
        if not rows:
            raise UserError("no docstrings found: this Python installation has no source files; give a corpus with "
                            "--data.train=FILE.jsonl")
        with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        log.info("%d docstrings are now in %s", len(rows), path)
    return path


def _installation() -> str:
    """A digest of what the corpus is made from: interpreter, package versions, and this recipe."""
    packages = sorted({f"{d.name}=={d.version}" for d in importlib.metadata.distributions(path=_sites()) if d.name})
    parts = [str(_VERSION), platform.python_implementation(), platform.python_version(), *packages]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _sites() -> list[str]:
    return [entry for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))]


def _collect() -> list[dict]:
    rows: dict[str, dict] = {}
    seen: set[tuple[str, ...]] = set()  # shingles of every text so far: boilerplate and copies are taken once
    with _quick_parsing():
        for file, module in _sources():
            for row in _docstrings(file, module):
                found = shingles(row["text"])
                if row["id"] not in rows and len(found & seen) < 0.3 * len(found):
                    rows[row["id"]] = row
                seen |= found
            if len(rows) >= _MOST_TEXTS:
                break
    return sorted(rows.values(), key=lambda row: hash_share(row["id"], "order"))


@contextlib.contextmanager
def _quick_parsing() -> Iterator[None]:
    """Syntax trees are many small objects without cycles: leave the garbage collector out of it."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        if collecting:
            gc.enable()


def _sources() -> Iterator[tuple[Path, str]]:
    """(file, module name): the standard library whole, then a sample of fixed size of each installed package."""
    library = Path(sysconfig.get_path("stdlib"))
    for file in sorted(library.rglob("*.py")):
        if not _SKIPPED & set(file.relative_to(library).parts):
            yield file, _module(file, library)
    for site in map(Path, _sites()):
        packages = [folder for folder in site.iterdir() if (folder / "__init__.py").is_file()]
        for package in sorted(packages, key=lambda folder: hash_share(folder.name, "order")):
            files = [file for file in package.rglob("*.py") if not _SKIPPED & set(file.relative_to(site).parts)]
            budget = _PACKAGE_BYTES
            for file in sorted(files, key=lambda file: hash_share(_module(file, site), "order")):
                budget -= file.stat().st_size
                if budget < 0:
                    break
                yield file, _module(file, site)


def _module(file: Path, root: Path) -> str:
    return ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def _docstrings(file: Path, module: str) -> Iterator[dict]:
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError, OSError):
        return  # templates and sources for other versions of Python
    pending: list[tuple[ast.AST, str, str]] = [(tree, module, "module")]
    while pending:
        node, name, kind = pending.pop()
        docstring = ast.get_docstring(node, clean=False)
        text = docstring_prose(docstring) if docstring else None
        if text:
            yield {"id": name, "title": f"{kind} {name}{_signature(node)}", "use_case": "documentation of Python code",
                   "genre": "docstring", "text": text, "outline": []}
        inside = "method" if isinstance(node, ast.ClassDef) else "function"
        for child in node.body:
            if isinstance(child, ast.ClassDef):
                pending.append((child, f"{name}.{child.name}", "class"))
            elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                pending.append((child, f"{name}.{child.name}", "property" if _is_property(child) else inside))


def _is_property(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any("property" in ast.unparse(decorator) for decorator in function.decorator_list)


def _signature(node: ast.AST) -> str:
    if isinstance(node, ast.ClassDef):
        inner = ", ".join(ast.unparse(base) for base in node.bases)
        return f"({inner})" if inner and len(inner) <= _LONGEST_SIGNATURE else ""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not _is_property(node):
        inner = ast.unparse(node.args)
        return f"({inner})" if len(inner) <= _LONGEST_SIGNATURE else "(...)"
    return ""
