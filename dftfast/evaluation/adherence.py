"""Does a set of texts do what its briefs ask: length, em dashes, outline."""

from __future__ import annotations

import numpy as np

from dftfast.evaluation import brief_checks
from dftfast.evaluation.estimate import Estimate
from dftfast.evaluation.two_samples import TwoSamples, mean_estimate


def adherence(s: TwoSamples) -> dict[str, Estimate]:
    """Estimates of the outputs beside the figures of the human texts.

    There are none without briefs, or where the prompts differ. There is no test either: a brief
    is made from the human text, which does what it asks as no other text can.
    """
    if s.y.briefs is None or not s.paired:
        return {}
    x, y = brief_checks.per_text(s.x.texts, s.y.briefs), s.reference.adherence
    found = {name: mean_estimate(x[name], s.w) for name in x if np.isfinite(y[name]).any()}
    for name, estimate in found.items():
        estimate.human = float(np.nanmean(y[name]))
    return found
