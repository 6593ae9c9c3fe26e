"""What DFT starts from, on a model of one block."""

from __future__ import annotations

import pytest
from tiny_run import fine_tuned, save_corpus, save_tiny_model

from dftfast.pipeline.stage_dft import phase_context


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    folder = tmp_path_factory.mktemp("start")
    corpus = save_corpus(folder / "corpus.jsonl")
    model = save_tiny_model(folder / "model", corpus)
    return phase_context(fine_tuned(model, corpus, folder / "run"), folder / "run" / "dft")
