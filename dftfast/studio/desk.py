"""Everything that the page's server holds."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field

from dftfast.studio.corpus_figures import CorpusFigures
from dftfast.studio.draft_store import DraftStore
from dftfast.studio.page_session import Sessions
from dftfast.studio.rate_limit import RateLimit
from dftfast.studio.writer import Writer
from dftfast.writing.rule import Rule


def usual_limits() -> dict[str, RateLimit]:
    """By the end or the beginning of a path; a person at one page stays far below them."""
    return {
        "/write": RateLimit(20, 5),
        "/three": RateLimit(10, 3),
        "/rewrite": RateLimit(40, 10),
        "/login": RateLimit(6, 5),
        "/": RateLimit(1200, 120),
    }


@dataclass
class Desk:
    """A writer, where drafts are kept, and what they are held against.

    Attributes:
        rules: of the checks.
        corpus: human texts to compare drafts with; none for no comparison.
        swapped_words: how many words a copy of an unread, unedited draft has exchanged; 0 for none.
        names: host names, besides `localhost` and addresses, that the page is asked for under.
    """

    writer: Writer
    store: DraftStore
    sessions: Sessions
    rules: Sequence[Rule]
    corpus: Sequence[str] = ()
    swapped_words: int = 3
    names: tuple[str, ...] = ()
    limits: dict[str, RateLimit] = field(default_factory=usual_limits)
    background: Executor = field(default_factory=lambda: ThreadPoolExecutor(1, "corpus"))

    def __post_init__(self):
        self._figures = self.background.submit(CorpusFigures, self.corpus) if self.corpus else None

    @property
    def figures(self) -> CorpusFigures | None:
        """None while they are being made, too."""
        return self._figures.result() if self._figures and self._figures.done() else None
