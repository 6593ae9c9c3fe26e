"""Style features against values counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from distribution.texts import Embedding, fitted, standard_library_docstrings
from hypothesis import given, settings
from hypothesis import strategies as st

from dftfast.distribution.mmd import (
    StyleMMD,
)
from dftfast.distribution.style import STYLE_FEATURES, style_features


def test_style_features_have_their_names_and_hand_counted_values():
    text = "I don't know. I think — maybe, at least — that it's 12!\n\nShe said so; they left?"
    found = dict(zip(STYLE_FEATURES, style_features(text), strict=True))
    words = 16
    assert found["log words"] == pytest.approx(math.log1p(words))
    assert found["log paragraphs"] == pytest.approx(math.log1p(2))
    assert found["commas"] == pytest.approx(1 / words) and found["em dashes"] == pytest.approx(
        2 / words
    )
    assert found["semicolons and colons"] == pytest.approx(1 / words) and found[
        "question marks"
    ] == pytest.approx(1 / words)
    assert found["first person"] == pytest.approx(2 / words) and found[
        "contractions"
    ] == pytest.approx(2 / words)
    assert found["same start"] == pytest.approx(1 / 2)  # three sentences: I, I, She
    assert found["digits"] == pytest.approx(2 / len(text)) and found["not ASCII"] == pytest.approx(
        2 / len(text)
    )
    assert found["repeated trigrams"] == 0
    assert dict(zip(STYLE_FEATURES, style_features("go on and " * 5)))[
        "repeated trigrams"
    ] == pytest.approx(1 - 3 / 13)


@given(st.text(max_size=200))
@settings(deadline=None, max_examples=100)
def test_style_features_of_any_text_are_finite(text):
    assert np.isfinite(style_features(text)).all()


def test_style_sees_what_is_written_in_another_manner():
    texts = standard_library_docstrings()
    rng = np.random.default_rng(0)
    rng.shuffle(texts)
    half = len(texts) // 2
    embedding = Embedding([*texts, *(text.replace(".", "!") for text in texts)])
    style = fitted(StyleMMD(), embedding.samples(texts[:half]))
    alike = style.value(embedding.samples(texts[half:]))
    assert (
        style.value(embedding.samples([text.replace(".", "!") for text in texts[half:]]))
        > alike + 0.02
        > 0
    )
