"""Of a blended reference: what it was mixed from, and where each system lies between the ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from dftfast.evaluation.blend_place import BlendEnds, Place, places
from dftfast.evaluation.estimate import Estimate
from dftfast.evaluation.textset import TextSet

_WIDTH, _HEIGHT, _MARGIN = 260, 22, 8


def blend_table(
    ends: BlendEnds | None, systems: Mapping[str, TextSet], colours: Mapping[str, str]
) -> dict | None:
    """A row for each system, with a track between two ends; None where nothing was blended.

    `record` is the same for report.json.
    """
    if ends is None:
        return None
    sets = {
        name: np.asarray(texts.embeddings)
        for name, texts in systems.items()
        if texts.embeddings is not None and not (name == "human" and ends.are_reference)
    }
    if not sets:
        return None
    found = places(ends, sets)
    told = all(place.shares for place in found.values())
    tracks = _tracks(ends, found, colours) if told and len(ends.names) == 2 else {}
    return {
        "weights": dict(ends.weights),
        "rows": [
            {
                "name": name,
                "track": tracks.get(name),
                "shares": {end: _percent(estimate) for end, estimate in place.shares.items()},
                "place": place,
            }
            for name, place in found.items()
        ],
        "told": told,
        "record": {
            "weights": dict(ends.weights),
            "systems": {name: place.to_json() for name, place in found.items()},
        },
    }


def _percent(share: Estimate) -> tuple[str, ...]:
    """The value and, where there is one, its interval."""
    known = (v for v in (share.value, share.low, share.high) if v is not None)
    return tuple(str(round(100 * v)).replace("-", "−") for v in known)


def _tracks(
    ends: BlendEnds, found: Mapping[str, Place], colours: Mapping[str, str]
) -> dict[str, Markup]:
    """From the first end at the left to the second at the right, all on one scale."""
    second = ends.names[1]
    at = {name: place.shares[second] for name, place in found.items()}
    values = [v for e in at.values() for v in (e.value, e.low, e.high) if v is not None]
    low, high = min([0.0, *values]), max([1.0, *values])
    px = lambda v: _MARGIN + (v - low) / (high - low) * (_WIDTH - 2 * _MARGIN)
    asked = px(ends.weights[second])
    return {
        name: Markup("").join(
            [
                Markup(f'<svg class="strip" viewBox="0 0 {_WIDTH} {_HEIGHT}" aria-hidden="true">'),
                *_frame((px(0), px(1)), asked),
                *_mark([px(v) for v in (e.value, e.low, e.high) if v is not None], colour),
                Markup("</svg>"),
            ]
        )
        for name, e in at.items()
        if e.value is not None
        for colour in [colours.get(name, "var(--muted)")]
    }


def _frame(ends: tuple[float, float], asked: float) -> list[Markup]:
    y, (a, b) = _HEIGHT / 2, ends
    ticks = "".join(f'<line class="end" x1="{x:.1f}" x2="{x:.1f}" y1="5" y2="17"/>' for x in ends)
    return [
        Markup(f'<line class="track" x1="{a:.1f}" x2="{b:.1f}" y1="{y}" y2="{y}"/>{ticks}'),
        Markup(f'<rect class="asked" x="{asked - 1.5:.1f}" width="3" y="0" height="22"/>'),
    ]


def _mark(points: Sequence[float], colour: str) -> list[Markup]:
    """The interval, where there is one, and the value."""
    y, value = _HEIGHT / 2, points[0]
    line = (
        f'<line stroke="{colour}" x1="{points[1]:.1f}" x2="{points[2]:.1f}" y1="{y}" y2="{y}"/>'
        if len(points) == 3
        else ""
    )
    return [Markup(f'{line}<circle fill="{colour}" cx="{value:.1f}" cy="{y}" r="4.5"/>')]
