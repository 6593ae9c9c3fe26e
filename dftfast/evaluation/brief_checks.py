"""What a brief asks for and how far each text keeps to it: length, em dashes, outline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dftfast.data.document import EM_DASH, Document
from dftfast.runtime.words import words


def per_text(texts: Sequence[str], briefs: Sequence[Document]) -> dict[str, np.ndarray]:
    """float64 [n] by their names in METRICS; NaN where the brief does not ask.

    `length_error`: |log2(words / words asked for)|, an empty text counted as one word.
    `em_dash_error`: 1 where there is an em dash against the brief. `outline_coverage`: share of the
    outline's words of four letters or more in the text.
    """
    written = [words(text) for text in texts]
    asked = [
        {w.lower() for point in brief.outline for w in words(point) if len(w) > 3}
        for brief in briefs
    ]
    used = [{w.lower() for w in text} for text in written]
    length = [
        abs(np.log2(max(len(text), 1) / brief.target_words)) if brief.target_words else np.nan
        for text, brief in zip(written, briefs)
    ]
    return {
        "length_error": np.array(length),
        "em_dash_error": np.array(
            [np.nan if b.em_dashes_allowed else float(EM_DASH in t) for t, b in zip(texts, briefs)]
        ),
        "outline_coverage": np.array(
            [len(a & u) / len(a) if a else np.nan for a, u in zip(asked, used)]
        ),
    }
