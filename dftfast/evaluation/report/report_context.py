"""What a report shows beside the results and the texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from dftfast.evaluation.blend_place import BlendEnds
from dftfast.evaluation.outcome import Finding
from dftfast.evaluation.reference import Reference


@dataclass(frozen=True)
class ReportContext:
    """Where the results come from and what else is known of the systems.

    Attributes:
        reference: what the results were measured against, with the training corpus where copies are
            to be shown; None takes the texts called "human".
        samplers: system -> {temperature, top_p, top_k}; those that are not here are read from names
            such as "sft T=0.8 top-p=1 top-k=0".
        token_name: text of a token id.
        about: facts for the foot of the page.
        judges: what each judge says (`judge.judge_record`).
        detectors: what each detector says (`detectors.detector_record`).
        findings: the answer for each system (`findings.find`); none are found afresh.
        ends: what the reference was blended from, where it was.
        notes: what a reader has to know of the texts: what was left out, copies of references.
    """

    reference: Reference | None = None
    samplers: Mapping[str, Mapping] = field(default_factory=dict)
    token_name: Callable[[int], str] = str
    about: Mapping[str, object] = field(default_factory=dict)
    judges: Sequence[dict] = ()
    detectors: Sequence[dict] = ()
    findings: Mapping[str, Finding] = field(default_factory=dict)
    notes: Sequence[str] = ()
    ends: BlendEnds | None = None
