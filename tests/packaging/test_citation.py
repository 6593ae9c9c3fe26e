"""CITATION.cff says what is installed."""

from __future__ import annotations

from pathlib import Path

import yaml

from dftfast.runtime.version import __version__

ROOT = Path(__file__).parents[2]


def test_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert {"cff-version", "message", "title", "authors", "license"} <= set(citation)
