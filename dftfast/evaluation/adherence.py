"""Does a set of texts do what its briefs ask: length, em dashes, outline."""

from __future__ import annotations

import numpy as np

from dftfast.evaluation import brief_checks
from dftfast.evaluation.estimate import Estimate
from dftfast.evaluation.two_samples import TwoSamples


def adherence(s: TwoSamples) -> dict[str, Estimate]:
    """Estimates of the outputs beside those of the human texts.

    There are none without briefs, or where the prompts differ.
    """
    if s.y.briefs is None or not s.paired:
        return {}
    x, y = brief_checks.per_text(s.x.texts, s.y.briefs), s.reference.adherence
    return {name: s.mean(x[name], y[name]) for name in x if np.isfinite(y[name]).any()}
