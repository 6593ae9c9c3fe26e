"""Rules that nearly all texts of a corpus pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dftfast.data.document import Document
from dftfast.data.split import hash_share
from dftfast.runtime.errors import UserError
from dftfast.writing.passage import Passage
from dftfast.writing.rule import Human, Rule
from dftfast.writing.rules import RULES
from dftfast.writing.rules.copied_runs import CopiedRuns
from dftfast.writing.rules.grammar import Grammar
from dftfast.writing.rules.model_phrases import ModelPhrases

_LEARN, _LIMIT = 0.6, 0.8  # shares of the corpus: learnt from, then limits, then rates
FEWEST = 100
_MOST = 20_000  # texts that limits are set by; runs of words are learnt from all


@dataclass(frozen=True)
class Fitted:
    """Rules, and the shares of held-out human texts that fail each, and any of severity error.

    Attributes:
        turned_off: names of rules that too many human texts fail at any limit.
        texts: held-out texts that the rates are of.
    """

    rules: list[Rule]
    rates: dict[str, float]
    errors: float
    turned_off: list[str]
    texts: int


def fit_rules(
    documents: Sequence[Document],
    share: float = 0.01,
    model_texts: Sequence[str] = (),
    grammar: bool = False,
) -> Fitted:
    """Fit every rule to human texts.

    Three fifths of the texts are learnt from, one fifth sets the limits, and the rates are measured
    on the last fifth; which is decided by the hash of a text's id.

    Args:
        share: of human texts that may fail a rule.
        model_texts: texts of a model, whose phrases are learnt.
        grammar: turn the rule `grammar` on.

    Raises:
        UserError: fewer than 100 documents, or Harper is wanted and not installed.
    """
    if len(documents) < FEWEST:
        raise UserError(f"{len(documents)} texts are too few to fit rules to: take {FEWEST}")
    parts: tuple[list[Human], list[Human], list[Human]] = ([], [], [])
    places = sorted((hash_share(d.id, "fit"), i) for i, d in enumerate(documents))
    chosen = [documents[i] for i in sorted(i for _, i in places[:_MOST])]
    for document in chosen:
        place = hash_share(document.id, "writing")
        human = Human(Passage(document.text), document)
        parts[(place >= _LEARN) + (place >= _LIMIT)].append(human)
    learnt, limit, held = parts
    rules, turned_off = [rule() for rule in RULES], []
    for rule in rules:
        if isinstance(rule, Grammar) and grammar:
            rule.severity = "warning"
        if rule.severity == "off":
            continue
        if isinstance(rule, ModelPhrases) and model_texts:
            rule.learn(model_texts, [human.brief.text for human in learnt])
        rule.fit(learnt, limit, share)
        if sum(map(rule.fails, limit)) > share * len(limit):
            rule.severity = "off"
            turned_off.append(rule.name)
    wrong = {rule.name: list(map(rule.fails, held)) for rule in rules if rule.severity != "off"}
    grave = [wrong[rule.name] for rule in rules if rule.severity == "error"]
    for rule in rules:
        if isinstance(rule, CopiedRuns):
            rule.learn(Passage(document.text) for document in documents)
    return Fitted(
        rules=rules,
        rates={name: sum(failed) / max(len(held), 1) for name, failed in wrong.items()},
        errors=sum(map(any, zip(*grave))) / max(len(held), 1),
        turned_off=turned_off,
        texts=len(held),
    )
