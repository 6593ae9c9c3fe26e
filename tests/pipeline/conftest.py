"""The tiny corpus, the tiny model, and what DFT starts from."""

from __future__ import annotations

import pytest
from tiny_run import fine_tuned, save_corpus, save_tiny_model

from dftfast.pipeline.stage_dft import phase_context


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    return save_corpus(tmp_path_factory.mktemp("corpus") / "corpus.jsonl")


@pytest.fixture(scope="session")
def model(tmp_path_factory, corpus):
    return save_tiny_model(tmp_path_factory.mktemp("model"), corpus)


@pytest.fixture(scope="module")
def context(model, corpus, tmp_path_factory):
    """What DFT starts from after a short SFT."""
    out = tmp_path_factory.mktemp("run")
    return phase_context(fine_tuned(model, corpus, out), out / "dft")
