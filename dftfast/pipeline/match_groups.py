"""The groups of a run that matches within a field of its rows (`dft.match_within`)."""

from __future__ import annotations

from collections.abc import Sequence

from dftfast.data import Document
from dftfast.distribution.grouped import LEAST_PROMPTS, LEAST_TEXTS, Groups, places_by_group
from dftfast.distribution.samples import Samples
from dftfast.distribution.targets import Human
from dftfast.pipeline.run import Run
from dftfast.runtime.errors import UserError


def match_groups(run: Run, human: Human, prompts: Sequence[Document]) -> Groups | None:
    """The groups of the training prompts, of the validation prompts and of the reference."""
    c = run.config.dft
    if c.match_within is None:
        return None
    assert isinstance(human, Samples)  # `check_groups` refuses targets
    of = lambda documents: groups_of(documents, c.match_within)
    texts = run.split.train[: c.reference_texts]
    return Groups.of(human, of(texts), of(prompts), of(run.validation))


def groups_of(documents: Sequence[Document], field: str | None) -> list[str | None]:
    """The value of the field of each document; None where it has none."""
    return [(getattr(document, field or "") or "").strip() or None for document in documents]


def check_groups(run: Run) -> None:
    """Refuse a field that makes no groups, before a model is fetched."""
    c, train = run.config.dft, run.uncounted_split.train
    field = c.match_within
    if field is None:
        return
    if c.target:
        raise UserError(
            f"dft.match_within: a target does not say which {field} its texts have; leave "
            "dft.target out to train towards the corpus, or leave dft.match_within out"
        )
    prompts, texts = (
        places_by_group(groups_of(d, field)) for d in (train, train[: c.reference_texts])
    )
    if not prompts:
        raise UserError(
            f"dft.match_within: no training text has the field {field}; put it into the rows of "
            "data.train, or leave dft.match_within out"
        )
    if len(prompts) == 1:
        raise UserError(
            f"dft.match_within: {next(iter(prompts))!r} is the only {field} of the training texts; "
            "there is nothing to match within, leave dft.match_within out"
        )
    if len(texts) < 2:
        raise UserError(
            f"dft.match_within: the reference, the first {c.reference_texts} training texts, has "
            f"{len(texts)} of the {len(prompts)} values of {field}; shuffle the rows of data.train "
            "or raise dft.reference_texts"
        )
    each_phase = min(c.prompts, len(train)) / len(train)
    asked = {name: each_phase * len(prompts[name]) for name in texts}
    enough = [n for n in texts if len(texts[n]) >= LEAST_TEXTS and asked[n] >= LEAST_PROMPTS]
    if not enough:
        first = max(texts, key=lambda name: len(texts[name]))
        raise UserError(
            f"dft.match_within: no {field} has {LEAST_TEXTS} of the reference texts and "
            f"{LEAST_PROMPTS} prompts a phase; of {first!r} there are {len(texts[first])} texts "
            f"and about {asked[first]:.0f} prompts. Raise dft.reference_texts and dft.prompts, or "
            "leave dft.match_within out"
        )
