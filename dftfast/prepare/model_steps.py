"""What a model does between the rules and the rows: it cleans and writes briefs, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from tqdm import tqdm

from dftfast.prepare.asking import Asker, Prompts, Question, ask
from dftfast.prepare.clean import Removed, without_lines
from dftfast.prepare.lines import LineRules
from dftfast.prepare.model_briefs import brief_question
from dftfast.prepare.model_cleaning import cleaning_question
from dftfast.prepare.piece import Piece
from dftfast.prepare.settings import Settings
from dftfast.prepare.tally import Tally
from dftfast.runtime.words import words

_CHUNK = 256  # documents in memory


@dataclass(frozen=True)
class ModelSteps:
    """Lets a model clean, write briefs, or both.

    Attributes:
        agree: told the questions of the first step before any is asked; raises to stop.
    """

    asker: Asker
    prompts: Prompts
    settings: Settings
    cleans: bool
    writes: bool
    agree: Callable[[ModelSteps, Callable[[], Iterable[Piece]]], object]

    def __call__(
        self,
        chosen: Callable[[], Iterable[Piece]],
        tally: Tally,
        removed: Removed,
        rules: LineRules,
    ) -> Iterator[Piece]:
        """The pieces with what the model made of them; by rules where its answers are of no use."""
        self.agree(self, chosen)
        pieces = iter(chosen())
        with tqdm(unit="doc", desc="model", dynamic_ncols=True) as bar:
            while chunk := list(islice(pieces, _CHUNK)):
                number = len(chunk)
                if self.cleans:
                    chunk = self._cleaned(chunk, tally, removed, rules)
                yield from self._briefed(chunk, tally) if self.writes else chunk
                bar.update(number)

    def questions(self, piece: Piece) -> list[Question]:
        """What a document is asked about, as far as is known before the first answer."""
        asked = [cleaning_question(piece, self.prompts)] if self.cleans else []
        return [*asked, *([brief_question(piece, self.prompts)] if self.writes else [])]

    def _cleaned(
        self, chunk: list[Piece], tally: Tally, removed: Removed, rules: LineRules
    ) -> list[Piece]:
        questions = [cleaning_question(piece, self.prompts) for piece in chunk]
        kept = []
        for piece, dropped in zip(chunk, ask(self.asker, questions, self.prompts, tally.model)):
            by_model = dropped is not None
            lines = dict.fromkeys(sorted(dropped), "model") if by_model else rules.removed(piece)
            tally.model["cleaned by the model" if by_model else "cleaned by rules"] += 1
            cleaned = without_lines(piece, lines)
            short = len(words(cleaned.cleaned)) < self.settings.min_words
            rule = "short" if short and "short" not in self.settings.without else None
            if lines or rule:
                removed(piece, lines, rule)
            if rule is None:
                kept.append(cleaned)
        return kept

    def _briefed(self, chunk: list[Piece], tally: Tally) -> Iterator[Piece]:
        questions = [brief_question(piece, self.prompts) for piece in chunk]
        for piece, brief in zip(chunk, ask(self.asker, questions, self.prompts, tally.model)):
            tally.model["brief by the model" if brief else "brief by rules"] += 1
            yield replace(piece, brief=brief)
