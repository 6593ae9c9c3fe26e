"""The answer for each system: does it write like the human texts, what gives it away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from dftfast.evaluation.estimate import Estimate
from dftfast.evaluation.reasons import Reason, reasons
from dftfast.evaluation.reference import Reference
from dftfast.evaluation.slop.analysis import Slop, analyse
from dftfast.evaluation.super_baseline import Results
from dftfast.evaluation.textset import TextSet
from dftfast.evaluation.told import Told, told

ALIKE = {  # what may be like human, in the order of how much it says
    "mmd": "content",
    "token_l2_1": "how often words occur",
    "style_mmd": "style as a whole",
    "self_bleu": "variety among texts",
    "mtld": "variety of words",
    "length_mean": "length",
    "sentence_length": "length of sentences",
    "paragraph_length": "length of paragraphs",
    "punctuation": "punctuation",
    "same_start": "starts of sentences",
    "not_but": "“not X but Y”",
    "em_dash": "em dashes",
}


@dataclass(frozen=True)
class Finding:
    """What is found of one system.

    Attributes:
        sentence: the answer in a sentence or two.
        classified: share of texts about which a classifier on embeddings is right; None where there
            is none.
        reasons: what gives the outputs away, the strongest first; empty where nothing does.
        alike: what is at the human level, in words.
        told, slop: the tests, and the tables.
    """

    sentence: str
    classified: float | None
    reasons: list[Reason]
    alike: list[str]
    told: Told
    slop: Slop

    def to_json(self) -> dict:
        return {
            "told": self.told.told,
            "p": self.told.p,
            "sentence": self.sentence,
            "classified": self.classified,
            "reasons": [asdict(reason) for reason in self.reasons],
            "alike": self.alike,
            "adjusted": dict(self.told.figures),
            "phrases": self.told.phrases,
        }


def find(
    results: Results,
    generations: Mapping[str, TextSet],
    reference: Reference,
    token_name: Callable[[int], str] = str,
) -> dict[str, Finding]:
    """The findings of every system whose texts (of the first draw) are there."""
    return {
        name: _find(name, estimates, generations[name], reference, token_name)
        for name, estimates in results.items()
        if name in generations
    }


def _find(
    name: str,
    estimates: Mapping[str, Estimate],
    texts: TextSet,
    reference: Reference,
    token_name: Callable[[int], str],
) -> Finding:
    slop = analyse(texts, reference, token_name)
    answer = told(estimates, slop.phrases_p, slop.style_tests)
    known = (estimates.get(m, Estimate()) for m in ("c2st", "c2st_unseen"))
    classified = max((f.value for f in known if f.value is not None), default=None)
    alike = [
        words
        for m, words in ALIKE.items()
        if estimates.get(m, Estimate()).within_human and not answer.differs(m)
    ]
    why = reasons(estimates, slop, answer)
    return Finding(_sentence(name, texts, answer, classified), classified, why, alike, answer, slop)


def _sentence(name: str, texts: TextSet, answer: Told, classified: float | None) -> str:
    of_100 = None if classified is None else round(100 * classified)
    if not answer.told:
        tests = len(answer.figures) + 1
        return (
            f"{name} cannot be told from the human texts: of {tests} tests on {len(texts):,} texts "
            "none finds a difference."
        )
    if of_100 is None:
        return f"{name} does not write like the human texts."
    return (
        f"{name} does not write like the human texts. A classifier is right about {of_100} of 100 "
        "texts (50 is chance)."
    )
