"""Every offline figure of a set of outputs against human texts."""

from __future__ import annotations

from collections.abc import Iterable

from dftfast.evaluation import distances, wording
from dftfast.evaluation.adherence import adherence
from dftfast.evaluation.estimate import Estimate
from dftfast.evaluation.metrics import METRICS
from dftfast.evaluation.reference import Reference
from dftfast.evaluation.textset import TextSet
from dftfast.evaluation.two_samples import TwoSamples


def evaluate(
    outputs: TextSet,
    reference: TextSet | Reference,
    *,
    bandwidth: float | None = None,
    exclude: Iterable[int] = (),
    rounds: int = 1000,
    seed: int = 0,
    mauve: bool = False,
) -> dict[str, Estimate]:
    """Every figure of `metrics.METRICS` that the two sets allow (all but those of judges and detectors), in that order.

    Args:
        outputs, reference: sets of texts. With the same ids they are compared prompt by prompt (paired resampling and
            permutation, BLEU and chrF); without a single common id, as independent samples. Anything between is an error.
        bandwidth, exclude, rounds, seed: as in `Reference`, which may be given instead to reuse its work.
        mauve: also MAUVE (extra `dftfast[mauve]`).

    A figure that cannot be computed has value None and says why. Raises UserError for sets that cannot be compared at all.
    """
    if not isinstance(reference, Reference):
        reference = Reference(
            reference, bandwidth=bandwidth, exclude=exclude, rounds=rounds, seed=seed
        )
    s = TwoSamples(outputs, reference)
    found = distances.embedding_mmd(s) | distances.token_distances(s)
    found |= {
        "style_mmd": distances.style_mmd(s),
        "frechet": distances.frechet(s),
    } | distances.c2st(s)
    if mauve:
        found["mauve"] = distances.mauve(s)
    found |= (
        wording.reference_overlap(s)
        | wording.repetition(s)
        | wording.single_texts(s)
        | adherence(s)
    )
    return {name: found[name] for name in METRICS if name in found}
