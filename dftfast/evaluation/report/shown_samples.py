"""Texts side by side with overused phrases marked, and the embedding map."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup, escape

from dftfast.evaluation.report import plots
from dftfast.evaluation.slop.overused import Overused
from dftfast.evaluation.textset import TextSet

LONGEST = 4000  # characters of a text on the page


def side_by_side(
    shown: Sequence[str],
    generations: Mapping[str, TextSet],
    overused: Mapping[str, list[Overused]],
    count: int,
) -> list[dict]:
    """Prompts that all sets answer, spread over the reference.

    Each with its (name, text as HTML), human first.
    """
    sets = {name: generations[name] for name in ["human", *shown]}
    place = {name: {i: k for k, i in enumerate(s.ids)} for name, s in sets.items()}
    common = [i for i in sets["human"].ids if all(i in p for p in place.values())]
    spread = (
        [common[k] for k in np.linspace(0, len(common) - 1, min(count, len(common))).astype(int)]
        if common
        else []
    )
    flagged = {
        name: [o.phrase for o in overused.get(name, []) if o.p <= 0.05 and o.ratio >= 2]
        for name in sets
    }
    return [
        {
            "prompt": sets["human"].prompts[place["human"][i]],
            "texts": [
                (name, highlight(cut(s.texts[place[name][i]]), flagged[name]))
                for name, s in sets.items()
            ],
        }
        for i in spread
    ]


def cut(text: str) -> str:
    return (
        text
        if len(text) <= LONGEST
        else text[:LONGEST] + f" … ({len(text) - LONGEST:,} more characters)"
    )


def highlight(text: str, phrases: list[str]) -> Markup:
    """The text as HTML with these phrases (word n-grams in lower case) marked."""
    if not phrases:
        return escape(text)
    between = r"[^\w\n.!?]+"
    alternatives = sorted(
        (between.join(map(re.escape, p.split())) for p in phrases), key=len, reverse=True
    )
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(alternatives)})(?!\w)", re.IGNORECASE)
    parts, last = [], 0
    for match in pattern.finditer(text):
        parts += [escape(text[last : match.start()]), Markup("<mark>%s</mark>") % match.group()]
        last = match.end()
    return Markup("").join([*parts, escape(text[last:])])


def embedding_map(
    names: Sequence[str], generations: Mapping[str, TextSet], most: int
) -> dict | None:
    """Human texts and texts of each set in the plane of largest variance (PCA).

    The first `most` of each set; None without embeddings.
    """
    points = {}
    for name in ["human", *names]:
        embeddings = generations[name].embeddings
        if embeddings is None:
            return None
        points[name] = embeddings[:most].astype(np.float64)
    every = np.concatenate(list(points.values()))
    centre = every.mean(0)
    _, s, directions = np.linalg.svd(every - centre, full_matrices=False)
    explained = (s[:2] ** 2).sum() / max((s**2).sum(), 1e-300)
    svg = plots.scatter({name: (p - centre) @ directions[:2].T for name, p in points.items()})
    return {"svg": svg, "names": list(points), "explained": float(explained)}
