"""Links of pages as they are inside the site."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("mkdocs")

from builders.site_links import JOINED, on_page_markdown
from markdown_pages import ROOT


def inside(source: str, text: str) -> str:
    page = SimpleNamespace(file=SimpleNamespace(src_uri=source))
    return on_page_markdown(text, page, None, None)


@pytest.mark.parametrize(
    ("source", "text", "expected"),
    [
        ("method.md", "[a](glossary.md#b)", "[a](glossary.md#b)"),
        ("method.md", "[a](#b) and [c](https://d.e)", "[a](#b) and [c](https://d.e)"),
        ("kernels/README.md", "![a](../figures/b.svg)", "![a](../figures/b.svg)"),
        ("kernels/ngram.md", "[a](../../CONTRIBUTING.md#b)", "[a](../contributing.md#b)"),
        ("contributing.md", "[a](docs/architecture.md)", "[a](architecture.md)"),
        ("index.md", "![a](docs/figures/b.svg)", "![a](figures/b.svg)"),
        ("index.md", '<img src="docs/figures/b.svg">', '<img src="figures/b.svg">'),
        (
            "index.md",
            "[b](CHANGELOG.md) and [c](docs/README.md)",
            "[b](changelog.md) and [c](pages.md)",
        ),
        ("pages.md", "[a](../README.md)", "[a](index.md)"),
        ("method.md", "[code](../dftfast/dft)", "code (`dftfast/dft`)"),
        ("method.md", "[dftfast/dft](../dftfast/dft)", "dftfast/dft"),
    ],
)
def test_links_stay_inside(source, text, expected):
    assert inside(source, text) == expected


def test_pages_that_join_are_there():
    assert all((ROOT / name).is_file() for name in JOINED)
