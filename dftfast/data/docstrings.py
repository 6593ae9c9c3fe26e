"""The default corpus: docstrings of a fixed list of old PyPI packages, alike on every machine.

The packages are fetched as archives, never installed and never imported: their sources are parsed
with `ast`. The text is the prose at the head of a docstring; the brief is the qualified name with
its kind and signature.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import hashlib
import json
import logging
import platform
import re
import tempfile
import tokenize
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path, PurePosixPath

from dftfast.data.prose import docstring_prose
from dftfast.data.signature import is_property, signature
from dftfast.data.split import hash_share, shingles
from dftfast.runtime.errors import UserError
from dftfast.runtime.files import atomic_file, cache_folder
from dftfast.runtime.pypi import download_wheels

log = logging.getLogger(__name__)
_Node = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_PACKAGES = Path(__file__).with_name("docstring_packages.txt")
_SHA256 = "5660d865a96044bf317b1fbea868adaec06363da9f6a10b6413320de728f7584"  # of the corpus file
# Compiled packages have a wheel for each platform, with the same sources: everyone takes this one.
_ONE_PLATFORM = ("--platform", "manylinux2014_x86_64", "--python-version", "3.9")
_PIP_OPTIONS = ("--quiet", "--implementation", "cp", "--abi", "cp39", *_ONE_PLATFORM)
_INSTEAD = "give a corpus with --data=FILE.jsonl"
_PACKAGE_BYTES = 6_000_000  # of source read of any one package, so that none dominates
_REPEATED = 0.3  # share of a text's 8-word runs that earlier texts have: from here on it is a copy
_SKIPPED = {"test", "tests", "docs", "examples", "_vendor", "vendor", "extern", "extlibs"}


def docstring_corpus() -> Path:
    """The corpus file (JSON Lines, corpus form), kept in the cache folder.

    It is made on first use: about 43 MB are fetched and read within a minute.

    Raises:
        UserError: The packages cannot be fetched, or this Python reads them otherwise than others.
    """
    path = cache_folder() / "corpora" / f"docstrings-{_SHA256[:12]}.jsonl"
    if path.is_file() and _sha256(path.read_bytes()) == _SHA256:
        return path
    log.info("fetching the packages whose docstrings are the default corpus (about 43 MB, once)")
    with tempfile.TemporaryDirectory() as scratch:
        requirements = _PACKAGES.read_text(encoding="utf-8")
        wheels = download_wheels(requirements, Path(scratch), _INSTEAD, _PIP_OPTIONS)
        log.info("reading their docstrings")
        rows = collect_docstrings(wheels)
    content = _content(rows)
    if _sha256(content) != _SHA256:
        raise UserError(
            f"the default corpus made here has SHA-256 {_sha256(content)}, expected {_SHA256}: "
            f"Python {platform.python_version()} reads the sources of its packages otherwise than "
            f"Python 3.10 to 3.13 do; use one of these, or {_INSTEAD}"
        )
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)
    log.info("%d docstrings are now in %s", len(rows), path)
    return path


def _content(rows: Iterable[dict]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def collect_docstrings(wheels: Iterable[Path]) -> list[dict]:
    """The rows of the corpus, shuffled by the hash of their ids, from wheels in any order.

    Docstrings are read in the order of package, path and position. Of texts that repeat one
    another, boilerplate included, the first is taken.
    """
    rows: dict[str, dict] = {}
    seen: set[tuple[str, ...]] = set()  # runs of 8 words of every text so far
    with _quick_parsing():
        for wheel in sorted(wheels, key=_package_name):
            for module, source in _sources(wheel):
                for row in _docstrings(source, module):
                    found = shingles(row["text"])
                    if row["id"] not in rows and len(found & seen) < _REPEATED * len(found):
                        rows[row["id"]] = row
                    seen |= found
    return sorted(rows.values(), key=lambda row: hash_share(row["id"], "order"))


@contextlib.contextmanager
def _quick_parsing() -> Iterator[None]:
    """Parse without warnings, and without the garbage collector: syntax trees have no cycles."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if collecting:
            gc.enable()


def _package_name(wheel: Path) -> str:
    return re.sub(r"[-_.]+", "-", wheel.name.partition("-")[0]).lower()


def _sources(wheel: Path) -> Iterator[tuple[str, bytes]]:
    """(module name, source) of a package's files, in the order of their paths.

    Of a large package a sample of fixed size is taken, by the hash of the name.
    """
    with zipfile.ZipFile(wheel) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
        modules = {}
        for name in sizes:
            path = PurePosixPath(name)
            inside = f"{path.parts[0]}/__init__.py" in sizes
            if path.suffix == ".py" and inside and not _SKIPPED & set(path.parts):
                modules[name] = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        budget, sample = _PACKAGE_BYTES, []
        for name in sorted(modules, key=lambda name: hash_share(modules[name], "order")):
            budget -= sizes[name]
            if budget < 0:
                break
            sample.append(name)
        for name in sorted(sample):
            yield modules[name], archive.read(name)


def _docstrings(source: bytes, module: str) -> Iterator[dict]:
    """The rows of one file, in the order of its lines; none of a file that is not Python 3."""
    try:
        encoding, _ = tokenize.detect_encoding(BytesIO(source).readline)
        code = source.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError):
        return
    lines = code.split("\n")
    pending: list[tuple[_Node, str, str]] = [(tree, module, "module")]
    while pending:
        node, name, kind = pending.pop()
        docstring = ast.get_docstring(node, clean=False)
        text = docstring_prose(docstring) if docstring else None
        if text:
            yield {
                "id": name,
                "title": f"{kind} {name}{signature(node, lines)}",
                "use_case": "documentation of Python code",
                "genre": "docstring",
                "text": text,
                "outline": [],
            }
        pending += reversed(list(_inside(node, name)))


def _inside(node: _Node, name: str) -> Iterator[tuple[_Node, str, str]]:
    """(node, qualified name, kind) of the classes and functions right inside `node`."""
    function = "method" if isinstance(node, ast.ClassDef) else "function"
    for child in node.body:
        if isinstance(child, ast.ClassDef):
            yield child, f"{name}.{child.name}", "class"
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield child, f"{name}.{child.name}", "property" if is_property(child) else function
