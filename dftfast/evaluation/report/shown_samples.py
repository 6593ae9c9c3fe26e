"""Texts side by side with overused phrases marked, and the embedding map."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from markupsafe import Markup, escape

from dftfast.evaluation.discriminant import Classifier
from dftfast.evaluation.report import plots
from dftfast.evaluation.slop.overused import Overused
from dftfast.evaluation.textset import TextSet
from dftfast.runtime.words import TIGHT

LONGEST = 4000  # characters of a text on the page
LEAST = 20  # texts from which a classifier can be trained


def side_by_side(
    shown: Sequence[str],
    generations: Mapping[str, TextSet],
    overused: Mapping[str, list[Overused]],
    count: int,
    first: str,
) -> list[dict]:
    """Texts of the shown systems, those that give `first` away most before others.

    Each with its prompt, (name, text as HTML) with the human text before them, and whether a
    classifier gives it away. Where no prompt is shared, the texts of `first` alone.
    """
    sets = {name: generations[name] for name in ["human", *shown]}
    place = {name: {i: k for k, i in enumerate(s.ids)} for name, s in sets.items()}
    flagged = {
        name: [o.phrase for o in overused.get(name, []) if o.p <= 0.05 and o.ratio >= 2]
        for name in sets
    }
    common = [i for i in sets["human"].ids if all(i in p for p in place.values())]
    if not common:
        sets = {first: sets[first]}
        common = list(sets[first].ids)
    known = set(common)
    telling = [i for i in telling_ids(generations[first], generations["human"]) if i in known]
    telling = telling[: count // 2]
    others = [i for i in common if i not in telling]
    places = np.linspace(0, len(others) - 1, min(count - len(telling), len(others))).astype(int)
    chosen = [*telling, *(others[k] for k in places)]
    return [
        {
            "prompt": sets[first].prompts[place[first][i]],
            "telling": i in telling,
            "texts": [
                (name, highlight(cut(s.texts[place[name][i]]), flagged[name]))
                for name, s in sets.items()
            ],
        }
        for i in chosen
    ]


def telling_ids(outputs: TextSet, human: TextSet) -> list[str]:
    """The ids of outputs, those first that a classifier on embeddings is surest of."""
    x, y = outputs.embeddings, human.embeddings
    if x is None or y is None or min(len(x), len(y)) < LEAST:
        return []
    paired = list(outputs.ids) == list(human.ids)
    labels = np.r_[np.ones(len(x)), np.zeros(len(y))]
    scores = Classifier(np.concatenate([x, y]), len(x), paired, 0).scores(labels[None])[0]
    return [str(outputs.ids[k]) for k in np.argsort(-scores[: len(x)], kind="stable")]


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
    alternatives = sorted(map(_pattern, phrases), key=len, reverse=True)
    pattern = re.compile("|".join(alternatives), re.IGNORECASE)
    parts, last = [], 0
    for match in pattern.finditer(text):
        parts += [escape(text[last : match.start()]), Markup("<mark>%s</mark>") % match.group()]
        last = match.end()
    return Markup("").join([*parts, escape(text[last:])])


def _pattern(phrase: str) -> str:
    """An expression for a phrase as it stands in texts.

    Words of one character (`runtime.words`) may stand side by side and within others.
    """
    parts = phrase.split()
    expression = re.escape(parts[0])
    for before, part in pairwise(parts):
        tight = TIGHT.match(before) and TIGHT.match(part)
        expression += r"[^\w\n.!?]" + ("*" if tight else "+") + re.escape(part)
    left = "" if TIGHT.match(parts[0]) else r"(?<!\w)"
    right = "" if TIGHT.match(parts[-1]) else r"(?!\w)"
    return left + expression.replace("'", "['\u2019]") + right


def embedding_map(
    names: Sequence[str],
    generations: Mapping[str, TextSet],
    most: int,
    colours: Mapping[str, str],
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
    places = {name: (p - centre) @ directions[:2].T for name, p in points.items()}
    svg = plots.scatter(places, colours)
    return {"svg": svg, "names": list(points), "explained": float(explained)}
