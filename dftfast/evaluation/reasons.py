"""What gives a set of outputs away, in words, the strongest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dftfast.evaluation.estimate import Estimate
from dftfast.evaluation.metrics import METRICS
from dftfast.evaluation.slop.analysis import Slop
from dftfast.evaluation.slop.overused import Overused
from dftfast.evaluation.slop.style_gaps import StyleGap, test_name
from dftfast.evaluation.told import SIGNIFICANT, Told

MOST = 5
CUT = 0.05  # share of outputs cut by the token limit from which it is worth a line

# v and h are the figure of the outputs and that of human texts.
FIGURES = {
    "same_start": "{v} of its texts start three sentences in a row alike, {h} of human texts",
    "not_but": "“not X but Y” in {v} of its texts, in {h} of human texts",
    "em_dash": "em dashes in {v} of its texts, in {h} of human texts",
    "foreign_script": "letters of a foreign script in {v} of its texts, in {h} of human texts",
    "typography": "{v} of its quotation marks and dashes are typographic, {h} of those of people",
    "unusual_characters": "invisible or unusual characters in {v} of its texts, human texts {h}",
    "punctuation": "{v} punctuation marks in 100 words, human texts {h}",
    "mtld": "lexical diversity {v}, human texts {h} (MTLD)",
    "type_token_ratio": "{v} distinct words by words, human texts {h}",
    "sentence_length": "{v} words in a sentence, human texts {h}",
    "sentence_spread": "sentences vary by {v} words in a text, human texts by {h}",
    "paragraph_length": "{v} words in a paragraph, human texts {h}",
    "length_mean": "{v} words in a text, human texts {h}",
    "length_sd": "lengths vary by {v} words, those of human texts by {h}",
    "self_bleu": "likeness of its texts to one another: self-BLEU {v}, human texts {h}",
    "near_duplicates": "{v} of its texts are nearly the same as another, {h} of human texts",
    "repeated_words": "{v} of the word triples in a text are there twice, in human texts {h}",
    "longest_copy": "longest run of words from a training text: {v} words, human texts {h}",
    "copied": "{v} of its words are in long runs from the training texts, of human texts {h}",
    "called_human": "detectors call {v} of its texts human, {h} of human texts",
}
# Distances say that, not what: they come after everything that can be named.
DISTANCES = {
    "mmd": "what the texts are about: MMD {v}, human texts up to {top}",
    "mmd_unseen": "what the texts are about, to another embedder: MMD {v}, human texts up to {top}",
    "token_l2_1": "how often words occur: token L2 {v}, human texts up to {top}",
    "token_l2_2": "how often pairs of words occur: token L2 {v}, human texts up to {top}",
    "token_l2_3": "how often triples of words occur: token L2 {v}, human texts up to {top}",
    "mmd_characters": "words and spellings that go together: MMD of character n-grams {v}, human "
    "texts up to {top}",
    "style_mmd": "style as a whole: style MMD {v}, human texts up to {top}",
    "c2st_glyphs": "quotation marks, dashes and spaces: a classifier on them alone is right about "
    "{v}, of human texts up to {top}",
    "trained_judge": "of an output and the human text of its prompt, a judge trained on other "
    "prompts knows the output in {v}, of two human texts in up to {top}",
    "c2st": "a classifier on embeddings is right about {v}, of human texts up to {top}",
}
# Features of style that say the same as a figure, which then has the word.
SAME = {
    "em dashes": "em_dash",
    "sentence length": "sentence_length",
    "spread of sentence length": "sentence_spread",
    "log words": "length_mean",
    "log paragraphs": "paragraph_length",
    "type-token ratio": "mtld",
    "same start": "same_start",
    "repeated trigrams": "repeated_words",
    "not ASCII": "typography",
}
# Figures of one thing: the one that differs most speaks for the other.
TWINS = {"longest_copy": "copied", "type_token_ratio": "mtld"}
CHARACTERS = ("capitals", "digits", "not ASCII")  # shares of characters, not of words
PLAIN = ("log words", "word length", "sentence length", "spread of sentence length")
PLAIN += ("log paragraphs", "type-token ratio", "repeated trigrams", "same start")


@dataclass(frozen=True)
class Reason:
    """Something in which outputs differ from human texts.

    Attributes:
        text: a line in words.
        metric: the figure that says so; empty of phrases and features of style.
        strength: in standard deviations of what chance does.
    """

    text: str
    metric: str
    strength: float


def reasons(estimates: Mapping[str, Estimate], slop: Slop, answer: Told) -> list[Reason]:
    """At most five things that differ, all tests considered; none where nothing does."""
    if not answer.told:
        return []
    named = [*_figures(estimates, answer), *_style(slop.style, estimates, answer)]
    named += _phrases(slop.phrases, slop.underused) if answer.phrases < SIGNIFICANT else []
    cut = estimates.get("cut_by_length", Estimate()).value
    if cut is not None and cut >= CUT:
        text = f"{METRICS['cut_by_length'].format(cut)} of its texts end at the token limit"
        named.append(Reason(text, "cut_by_length", 100 * cut))
    named.sort(key=lambda reason: -reason.strength)
    return [*_one_of_twins(named), *_distances(estimates, answer)][:MOST]


def _one_of_twins(ordered: Sequence[Reason]) -> list[Reason]:
    kept: dict[str, Reason] = {}
    for place, reason in enumerate(ordered):
        about = TWINS.get(reason.metric, reason.metric) or str(place)
        kept.setdefault(about, reason)
    return list(kept.values())


def _figures(estimates: Mapping[str, Estimate], answer: Told) -> list[Reason]:
    return [
        Reason(
            text.format(v=_shown(metric, f.value), h=_shown(metric, f.human)), metric, _strength(f)
        )
        for metric, text in FIGURES.items()
        if (f := estimates.get(metric, Estimate())).test is not None and answer.differs(metric)
    ]


def _distances(estimates: Mapping[str, Estimate], answer: Told) -> list[Reason]:
    found = [
        Reason(
            text.format(v=_shown(metric, f.value), top=_shown(metric, f.human_high)),
            metric,
            _strength(f),
        )
        for metric, text in DISTANCES.items()
        if (f := estimates.get(metric, Estimate())).test is not None and answer.differs(metric)
    ]
    return sorted(found, key=lambda reason: -reason.strength)


def _style(
    style: Sequence[StyleGap], estimates: Mapping[str, Estimate], answer: Told
) -> list[Reason]:
    found = []
    for gap in style:
        twin = SAME.get(gap.feature, "")
        if not answer.differs(test_name(gap.feature)) or (twin and answer.differs(twin)):
            continue
        found.append(Reason(_feature(gap), "", abs(gap.strength)))
    return found


def _feature(gap: StyleGap) -> str:
    if gap.feature in PLAIN:
        return f"{gap.feature} {gap.outputs:.3g}, human texts {gap.human:.3g}"
    of = "characters" if gap.feature in CHARACTERS else "words"
    return f"{gap.feature}: {100 * gap.outputs:.2g} in 100 {of}, human texts {100 * gap.human:.2g}"


def _phrases(overused: Sequence[Overused], underused: Sequence[Overused]) -> list[Reason]:
    from scipy.stats import norm

    found = []
    for rows, text in (
        (overused, "{names} in {v} of its texts, in {h} of human texts"),
        (underused, "{names} in only {v} of its texts, in {h} of human texts"),
    ):
        top = [row for row in rows if row.p < SIGNIFICANT][:3]
        if top:
            names = ", ".join(f"“{row.phrase}”" for row in top)
            v, h = _range([row.outputs for row in top]), _range([row.human for row in top])
            least = min(row.p for row in top)
            found.append(Reason(text.format(names=names, v=v, h=h), "", float(norm.isf(least / 2))))
    return found


def _range(shares: Sequence[float]) -> str:
    low, high = (f"{100 * share:.0f}" for share in (min(shares), max(shares)))
    if high == "0":
        return "none" if max(shares) == 0 else "under 1%"
    return f"{high}%" if low == high else f"{low} to {high}%"


def _shown(metric: str, value: float | None) -> str:
    return METRICS[metric].format(value)


def _strength(f: Estimate) -> float:
    assert f.test is not None
    return f.test.extremity[0]
