"""Plots of the report as inline SVG. Colours are CSS variables, so that they follow light and dark mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup, escape

SERIES = 6  # colours --s0 ... --s5 of the style sheet


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers between low and high."""
    if high <= low:
        return [low]
    raw = (high - low) / about
    size = 10 ** np.floor(np.log10(raw))
    step = size * min((1, 2, 2.5, 5, 10), key=lambda s: abs(np.log(s * size / raw)))
    first = np.ceil(low / step - 1e-9)
    return [float(step * k) for k in range(int(first), int(np.floor(high / step + 1e-9)) + 1)]


def lines(
    series: Mapping[str, Sequence[tuple[float, float, float | None, float | None]]],
    *,
    x_title: str,
    x_ticks: Mapping[float, str] | None = None,
    level: tuple[float, str] | None = None,
    band: tuple[float, float] | None = None,
    format=lambda v: f"{v:g}",
    title: str = "",
) -> Markup:
    """Lines of (x, y, low, high) by series name, with the area of the intervals for up to three; a dotted level (y, label), a
    band (low, high) of human texts."""
    width, height, left, right, top, bottom = 360, 220, 52, 12, 12, 34
    points = [p for s in series.values() for p in s]
    ys = (
        [v for p in points for v in p[1:] if v is not None]
        + list(band or ())
        + ([level[0]] if level else [])
    )
    xs = [p[0] for p in points]
    y0, y1 = _padded(min(ys), max(ys))
    x0, x1 = (min(xs), max(xs)) if max(xs) > min(xs) else (min(xs) - 0.5, max(xs) + 0.5)
    px = lambda x: left + (x - x0) / (x1 - x0) * (width - left - right)
    py = lambda y: height - bottom - (y - y0) / (y1 - y0) * (height - top - bottom)
    out = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">']
    if band:
        out.append(
            f'<rect class="human-band" x="{left}" width="{width - left - right}" y="{py(band[1]):.1f}" '
            f'height="{max(py(band[0]) - py(band[1]), 1.5):.1f}"/>'
        )
    for t in ticks(y0, y1):
        out.append(
            f'<line class="grid" x1="{left}" x2="{width - right}" y1="{py(t):.1f}" y2="{py(t):.1f}"/>'
            f'<text class="tick" x="{left - 6}" y="{py(t) + 3.5:.1f}" text-anchor="end">{escape(format(t))}</text>'
        )
    marks = x_ticks or {
        t: f"{t:g}" for t in (sorted(set(xs)) if len(set(xs)) <= 7 else ticks(x0, x1, 5))
    }
    for t, label in marks.items():
        out.append(
            f'<text class="tick" x="{px(t):.1f}" y="{height - bottom + 15}" text-anchor="middle">{label}</text>'
        )
    out.append(
        f'<text class="axis" x="{(left + width - right) / 2}" y="{height - 4}" text-anchor="middle">{escape(x_title)}</text>'
    )
    for k, s in enumerate(series.values()):
        s = sorted(s)
        colour = f"var(--s{k % SERIES})"
        if (
            len(series) <= 3 and all(p[2] is not None for p in s) and len(s) > 1
        ):  # more areas hide one another
            area = [(p[0], p[3]) for p in s] + [(p[0], p[2]) for p in reversed(s)]
            path = " ".join(f"{px(x):.1f},{py(y):.1f}" for x, y in area)
            out.append(f'<polygon points="{path}" fill="{colour}" opacity=".13"/>')
        path = " ".join(f"{px(p[0]):.1f},{py(p[1]):.1f}" for p in s)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [
            f'<circle cx="{px(p[0]):.1f}" cy="{py(p[1]):.1f}" r="3" fill="{colour}"><title>{p[0]:g}: '
            f"{escape(format(p[1]))}</title></circle>"
            for p in s
            if len(s) <= 20
        ]
    if level:
        out.append(
            f'<line class="candidate" x1="{left}" x2="{width - right}" y1="{py(level[0]):.1f}" y2="{py(level[0]):.1f}">'
            f"<title>{escape(level[1])}: {escape(format(level[0]))}</title></line>"
        )
    return Markup("".join(out) + "</svg>")


def histogram(
    edges: Sequence[float], shares: Mapping[str, Sequence[float]], *, x_title: str, title: str = ""
) -> Markup:
    """Shares in equal bins as steps, one filled outline for each CSS class."""
    width, height, left, right, top, bottom = 360, 170, 40, 12, 10, 34
    most = max(max(s) for s in shares.values()) * 1.05 or 1.0
    px = lambda x: left + (x - edges[0]) / (edges[-1] - edges[0]) * (width - left - right)
    py = lambda y: height - bottom - y / most * (height - top - bottom)
    out = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">']
    for t in ticks(0, most, 3):
        out.append(
            f'<line class="grid" x1="{left}" x2="{width - right}" y1="{py(t):.1f}" y2="{py(t):.1f}"/>'
            f'<text class="tick" x="{left - 6}" y="{py(t) + 3.5:.1f}" text-anchor="end">{100 * t:.0f}%</text>'
        )
    for t in ticks(edges[0], edges[-1], 5):
        out.append(
            f'<text class="tick" x="{px(t):.1f}" y="{height - bottom + 15}" text-anchor="middle">{t:g}</text>'
        )
    out.append(
        f'<text class="axis" x="{(left + width - right) / 2}" y="{height - 4}" text-anchor="middle">{escape(x_title)}</text>'
    )
    for name, heights in shares.items():
        steps = [(x, y) for a, b, y in zip(edges, edges[1:], heights) for x in (a, b)]
        corners = [(edges[0], 0), *steps, (edges[-1], 0)]
        out.append(
            f'<polygon class="bars {name}" points="{" ".join(f"{px(x):.1f},{py(y):.1f}" for x, y in corners)}"/>'
        )
    return Markup("".join(out) + "</svg>")


def strip(
    rows: Sequence[tuple[str, float, float | None, float | None]], human: tuple[float, float] | None
) -> Markup:
    """Values with intervals on one scale, a line for each (css class, value, low, high), the human range behind."""
    width, step = 260, 16
    height = step * len(rows) + 4
    values = [v for row in rows for v in row[1:] if v is not None] + list(human or ())
    x0, x1 = _padded(min(values), max(values))
    px = lambda x: 8 + (x - x0) / (x1 - x0) * (width - 16)
    out = [f'<svg class="strip" viewBox="0 0 {width} {height}" aria-hidden="true">']
    if human:
        out.append(
            f'<rect class="human-band" x="{px(human[0]):.1f}" width="{max(px(human[1]) - px(human[0]), 3):.1f}" '
            f'y="0" height="{height}" rx="2"/>'
        )
    for k, (name, value, low, high) in enumerate(rows):
        y = step * k + step / 2 + 2
        if low is not None:
            out.append(
                f'<line class="{name}" x1="{px(low):.1f}" x2="{px(high):.1f}" y1="{y}" y2="{y}"/>'
            )
        out.append(f'<circle class="{name}" cx="{px(value):.1f}" cy="{y}" r="4.5"/>')
    return Markup("".join(out) + "</svg>")


def scatter(groups: Mapping[str, np.ndarray]) -> Markup:
    """Points [n, 2] by group, drawn in turn so that no group hides another; a cross marks each group's mean."""
    width, height = 640, 420
    every = np.concatenate(list(groups.values()))
    (x0, y0), (x1, y1) = np.quantile(every, 0.002, axis=0), np.quantile(every, 0.998, axis=0)
    place = lambda p: (
        16 + (p[0] - x0) / max(x1 - x0, 1e-9) * (width - 32),
        height - 16 - (p[1] - y0) / max(y1 - y0, 1e-9) * (height - 32),
    )
    dots = [
        (i, g, point) for g, points in enumerate(groups.values()) for i, point in enumerate(points)
    ]
    out = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="Embedding map">']
    for _, g, point in sorted(dots, key=lambda d: d[:2]):
        x, y = place(point)
        if 0 < x < width and 0 < y < height:
            out.append(f'<circle class="map g{g}" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>')
    for g, points in enumerate(groups.values()):
        x, y = place(points.mean(0))
        out.append(f'<path class="cross g{g}" d="M{x - 9:.1f} {y:.1f}h18M{x:.1f} {y - 9:.1f}v18"/>')
    return Markup("".join(out) + "</svg>")


def _padded(low: float, high: float) -> tuple[float, float]:
    room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room
