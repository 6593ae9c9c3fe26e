"""Spelling and grammar of English texts, by Harper."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from dftfast.data.document import Document
from dftfast.runtime.errors import UserError
from dftfast.writing.passage import Passage
from dftfast.writing.rule import Example, Finding, Human, Rule, Severity, portions, upper_limit

if TYPE_CHECKING:
    from harper import Lint, Linter

# Kinds of Harper's that are mistakes; the others are taste (style, readability) or typesetting.
_MISTAKES = frozenset(
    "Agreement BoundaryError Capitalization Eggcorn Grammar Malapropism Miscellaneous Nonstandard "
    "Punctuation Repetition Spelling Typo Usage WordChoice".split()
)
_LEARNT = 1_500  # texts that decide which of Harper's rules are let be
_DIALECT = 300  # texts that decide the dialect
_FOREIGN = 0.4  # share of unknown words above which a text is taken for another language
_COMMON = 3  # texts that a word is in before it counts as the corpus's own
_SPELLING = "SpellCheck"
_AT_WORK = threading.Lock()  # a linter of Harper's is for one thread at a time


class Grammar(Rule):
    name = "grammar"
    about = (
        "Has mistakes of English spelling or grammar that Harper finds (extra `grammar`); words "
        "with a capital letter are taken for names. Off unless turned on. Fitted (`--grammar`), it "
        "knows the corpus's words and lets be what its writers do."
    )
    found = (
        Example("This is an test of the the fence."),
        Example("They could of seen it."),
        Example("Please recieve my thanks."),
    )
    passed = (
        Example("Please give Mrs Abercrombeley the letter that she asked for."),
        Example("Das ist kein englischer Satz, also wird er nicht gelesen."),
        Example("The spreddsheet is here.", settings={"words": ["spreddsheet"]}),
        Example("I have an test.", settings={"let_be": ["AnA"]}),
        Example("I have an test.", settings={"most": 1}),
    )
    severity: Severity = "off"
    dialect: Literal["american", "british", "australian", "canadian", "indian"] = "american"
    words: tuple[str, ...] = ()
    let_be: tuple[str, ...] = ()
    most: int = 0

    def find(self, passage: Passage, brief: Document | None) -> Iterator[Finding]:
        lints = self._mistakes(passage)
        if len(lints) > self.most * portions(passage):
            for lint in lints:
                yield self.finding(lint.span.start, lint.span.end, _said(lint), _instead(lint))

    def fit(self, texts: Sequence[Human], held: Sequence[Human], share: float) -> None:
        if self.severity == "off":
            return
        self._fit_dialect(texts[:_DIALECT])
        spelling = _linter(self.dialect, (), (), True)
        unknown = Counter(
            word
            for human in texts
            for word in {lint.problem_text for lint in _lint(spelling, human.passage)}
            if word.islower()
        )
        self.words = tuple(sorted(word for word, count in unknown.items() if count >= _COMMON))
        fired = Counter()
        learnt, linter = texts[:_LEARNT], _linter(self.dialect, self.words, (), False)
        for human in learnt:
            with _AT_WORK:
                named = linter.organized_lints(_readable(human.passage.text), language="plaintext")
            fired.update(name for name, lints in named.items() if any(map(_is_mistake, lints)))
        most = share / 5 * len(learnt)
        self.let_be = tuple(sorted(n for n, c in fired.items() if c > most and n != _SPELLING))
        levels = [len(self._mistakes(h.passage)) / portions(h.passage) for h in held]
        self.most = -int(-upper_limit(levels, share) // 1)  # rounded up

    def _fit_dialect(self, texts: Sequence[Human]) -> None:
        """The dialect that knows most of the words; American where several do."""
        unknown = lambda dialect: sum(
            len(_lint(_linter(dialect, (), (), True), human.passage)) for human in texts
        )
        self.dialect = min(_DIALECTS, key=unknown)

    def _mistakes(self, passage: Passage) -> list[Lint]:
        linter = _linter(self.dialect, self.words, self.let_be, False)
        lints = _lint(linter, passage)
        unknown = sum(lint.lint_kind == "Spelling" for lint in lints)
        if unknown > _FOREIGN * len(passage.words):
            return []
        return list(filter(_is_mistake, lints))


_DIALECTS = ("american", "british", "australian", "canadian", "indian")


@lru_cache(maxsize=8)
def _linter(
    dialect: str, words: tuple[str, ...], let_be: tuple[str, ...], spelling: bool
) -> Linter:
    """Harper with these settings, with all its rules but `let_be` or with spelling alone.

    Making one takes about a second.

    Raises:
        UserError: Harper is not installed.
    """
    try:
        from harper import Dialect, Linter
    except ImportError:
        raise UserError("grammar: needs harper-py: pip install 'dftfast[grammar]'") from None
    linter = Linter(Dialect[dialect.upper()])
    if words:
        linter.import_words(list(words))
    config = linter.get_default_lint_config()
    wanted = {n: n == _SPELLING if spelling else on and n not in let_be for n, on in config.items()}
    linter.set_lint_config({**wanted})
    return linter


def _lint(linter: Linter, passage: Passage) -> list[Lint]:
    with _AT_WORK:
        return linter.lint(_readable(passage.text), language="plaintext")


def _readable(text: str) -> str:
    """As long as the text, without the half characters that no Rust string can hold."""
    return text.encode("utf-8", "replace").decode() if not text.isascii() else text


def _is_mistake(lint: Lint) -> bool:
    """A mistake, and not the spelling of what may be a name, number or address."""
    if lint.lint_kind not in _MISTAKES:
        return False
    word = lint.problem_text
    return lint.lint_kind not in ("Spelling", "Typo") or (word.islower() and word.isprintable())


def _said(lint: Lint) -> str:
    return " ".join(lint.message.split())


def _instead(lint: Lint) -> str | None:
    from harper import SuggestionKind

    for first in lint.suggestions[:1]:
        if first.kind == SuggestionKind.REMOVE:
            return ""
        after = first.kind == SuggestionKind.INSERT_AFTER
        return (lint.problem_text if after else "") + first.replacement_text
    return None
