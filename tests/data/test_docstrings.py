"""The corpus of docstrings: enough of it, prose alone, read without importing anything, the same every time."""
from __future__ import annotations

import json
import sys

import pytest

from dftfast.data import docstring_corpus, load_corpus, near_duplicates, split_corpus
from dftfast.data import docstrings as module
from dftfast.data.prose import docstring_prose

PROSE = ("Send data to the transport. This does not block; it buffers the data and arranges for it to be sent out "
         "asynchronously. The target socket address is given by the second argument.")
SECOND = "Calling this after the transport was closed has no effect at all, and nothing is raised."


def test_leading_prose_is_unwrapped():
    docstring = f"{PROSE[:60]}\n    {PROSE[60:]}\n\n    {SECOND}\n\n    Args:\n        data: bytes to send.\n"
    assert docstring_prose(docstring) == f"{PROSE}\n\n{SECOND}".replace("  ", " ")


def test_too_short_and_too_long():
    assert docstring_prose("Send data to the transport.") is None
    assert docstring_prose(PROSE + " It does so." * 40) is None
    assert docstring_prose(PROSE + "\n\n" + "It does so. " * 40) == PROSE


@pytest.mark.parametrize("block", [
    ">>> send(b'x')", "- a list item that ends in a full stop.", "1. first step of the recipe.",
    ":param data: the bytes to send.", "Parameters\n----------\ndata : bytes", ".. note:: Not thread safe.",
    "name      meaning\nport      the number.", "Example::", "Copyright 2020 by its authors.",
    "Deprecated since version 3.2.", "See https://example.org for more.", "x = {y: z_1 for (y, z_1) in a[0].items()}.",
    "1234 5678 9012 3456.", "    indented = code().", "This introduces a list of things:",
])
def test_what_is_not_prose_ends_the_text(block):
    assert docstring_prose(f"{PROSE}\n\n{block}\n\n{SECOND}") == PROSE
    assert docstring_prose(f"{block}\n\n{PROSE}") is None


def test_briefs_name_kind_and_signature(tmp_path):
    source = f'''raise SystemExit("imported")
class Transport(Base, metaclass=Meta):
    """{PROSE}"""
    async def send(self, data: bytes, *, address=None):
        """{SECOND} {SECOND}"""
    @functools.cached_property
    def peer(self):
        """The peer. {PROSE}"""
def {'f'}({", ".join(f"argument_{i}" for i in range(40))}):
    """{PROSE} {SECOND}"""
'''
    (tmp_path / "net.py").write_text(source)
    titles = {row["title"] for row in module._docstrings(tmp_path / "net.py", "pkg.net")}
    assert titles == {"class pkg.net.Transport(Base)", "property pkg.net.Transport.peer", "function pkg.net.f(...)",
                      "method pkg.net.Transport.send(self, data: bytes, *, address=None)"}
    (tmp_path / "old.py").write_text("print 'python 2'")
    assert list(module._docstrings(tmp_path / "old.py", "old")) == []


def test_built_once_and_the_same_every_time(tmp_path, monkeypatch):
    site = tmp_path / "site-packages"
    for name in ("alpha", "beta"):
        (site / name / "tests").mkdir(parents=True)
        body = f'raise SystemExit\ndef one():\n    """{name.title()} one. {PROSE}"""\n'
        (site / name / "__init__.py").write_text(body + f'def two():\n    """{SECOND} {SECOND} {name} {SECOND}"""\n')
        (site / name / "tests" / "__init__.py").write_text(f'"""{name} tests. {PROSE} {SECOND}"""')
    monkeypatch.setattr(sys, "path", [str(site)])
    monkeypatch.setattr(module.sysconfig, "get_path", lambda name: str(tmp_path / "stdlib"))
    paths = []
    for run in ("first", "second"):
        monkeypatch.setenv("DFTFAST_CACHE", str(tmp_path / run))
        paths.append(docstring_corpus())
    assert paths[0].read_bytes() == paths[1].read_bytes() and paths[0].name == paths[1].name
    names = [json.loads(line)["id"] for line in paths[0].read_text().splitlines()]
    assert len(names) == 2  # what beta copies from alpha, or alpha from beta, is taken once; tests are left out
    assert len({name.split(".")[0] for name in names}) == 1
    paths[1].write_text("kept\n")
    assert docstring_corpus().read_text() == "kept\n"


def test_this_installation_has_enough():
    documents = load_corpus([docstring_corpus()])
    for_tests_only = {"pandas", "datasets", "peft", "trl", "hypothesis", "openai", "_pytest", "accelerate", "pyarrow",
                      "scikit_build_core", "faiss", "mauve", "pytest_benchmark", "xllamacpp", "multiprocess"}
    core = [document for document in documents if document.id.split(".")[0] not in for_tests_only]
    assert len(core) >= 3000
    assert all(25 <= len(document.text.split()) <= 120 for document in documents)
    split = split_corpus(documents, tuning_share=0.05, held_out_share=0.1)
    assert len(split.train) > 0.8 * len(documents)  # few repeat one another
    assert not near_duplicates([d.text for d in split.train], [d.text for d in split.held_out])
