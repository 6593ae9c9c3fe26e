"""Every offline metric of a set of outputs against human texts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from dftfast.evaluation import distances, wording
from dftfast.evaluation.adherence import adherence
from dftfast.evaluation.draws import in_one_order, mean_over_draws
from dftfast.evaluation.estimate import Estimate, undefined
from dftfast.evaluation.metrics import METRICS
from dftfast.evaluation.reference import Reference
from dftfast.evaluation.target_distances import token_distances
from dftfast.evaluation.target_reference import TargetReference
from dftfast.evaluation.textset import TextSet
from dftfast.evaluation.trained_judge import trained_judge
from dftfast.evaluation.two_samples import TwoSamples
from dftfast.runtime.errors import UserError

NEED_TEXTS = (
    *("mmd_characters", "c2st_glyphs", "chrf", "bleu", "self_bleu", "near_duplicates"),
)  # and briefs, which no target has
ALSO = {"mauve": distances.mauve, "trained_judge": trained_judge}  # where they are asked for


def evaluate(
    outputs: TextSet | Sequence[TextSet],
    reference: TextSet | Reference,
    *,
    bandwidth: float | None = None,
    exclude: Iterable[int] = (),
    rounds: int = 1000,
    seed: int = 0,
    also: Collection[str] = (),
) -> dict[str, Estimate]:
    """Every metric of `metrics.METRICS` that the two sets allow, in that order.

    Those of judges and detectors are left out. A metric that cannot be computed has value None and
    says why.

    Args:
        outputs, reference: sets of texts. With the same ids they are compared prompt by prompt
            (paired resampling and permutation, BLEU and chrF); without a single common id, as
            independent samples. Anything between is an error. Several sets of outputs are draws
            of one system, which all answer the same prompts: the figures are means over them.
        bandwidth, exclude, rounds, seed: as in `Reference`, which may be given instead to reuse its
            work.
        also: what costs more and is asked for: those of `ALSO`.

    Raises:
        UserError: the sets cannot be compared at all.
    """
    if unknown := set(also) - set(ALSO):
        raise UserError(f"also: no figure {min(unknown)!r}; there are {', '.join(ALSO)}")
    if not isinstance(reference, Reference):
        reference = Reference(
            reference, bandwidth=bandwidth, exclude=exclude, rounds=rounds, seed=seed
        )
    draws = in_one_order([outputs] if isinstance(outputs, TextSet) else outputs)
    return mean_over_draws([_of_one_draw(TwoSamples(draw, reference), also) for draw in draws])


def _of_one_draw(s: TwoSamples, also: Collection[str]) -> dict[str, Estimate]:
    reference = s.reference
    target = reference if isinstance(reference, TargetReference) else None
    estimates = distances.embedding_mmd(s)
    estimates |= token_distances(s, target) if target else distances.token_distances(s)
    estimates |= {
        "style_mmd": distances.style_mmd(s),
        "frechet": distances.frechet(s),
    } | distances.c2st(s)
    estimates |= {name: figure(s) for name, figure in ALSO.items() if name in also}
    estimates |= wording.single_texts(s)
    if target:
        estimates |= dict.fromkeys(NEED_TEXTS, undefined("the target holds no texts"))
    else:
        estimates["mmd_characters"] = distances.character_mmd(s)
        estimates["c2st_glyphs"] = distances.glyph_c2st(s)
        estimates |= wording.reference_overlap(s) | wording.repetition(s) | adherence(s)
    return {name: estimates[name] for name in METRICS if name in estimates}
