"""Plots of the report as inline SVG.

Colours are CSS variables, so that they follow light and dark mode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

Point = tuple[float, float, float | None, float | None]  # x, y and its interval
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


@dataclass(frozen=True)
class _Plane:
    """Where values of a plot of lines lie on the page."""

    xs: tuple[float, float]
    ys: tuple[float, float]
    width: int = 360
    height: int = 220
    left: int = 52
    right: int = 12
    top: int = 12
    bottom: int = 34

    def x(self, value: float) -> float:
        low, high = self.xs
        return self.left + (value - low) / (high - low) * (self.width - self.left - self.right)

    def y(self, value: float) -> float:
        low, high = self.ys
        room = self.height - self.top - self.bottom
        return self.height - self.bottom - (value - low) / (high - low) * room


def lines(
    series: Mapping[str, Sequence[Point]],
    *,
    x_title: str,
    x_ticks: Mapping[float, str] | None = None,
    level: tuple[float, str] | None = None,
    band: tuple[float, float] | None = None,
    format: Callable[[float], str] = lambda v: f"{v:g}",
    title: str = "",
) -> Markup:
    """Lines of (x, y, low, high) by series name, with the area of the intervals for up to three.

    Args:
        level: a dotted line (y, label).
        band: (low, high) of human texts.
        format: of values of y.
    """
    points = [p for s in series.values() for p in s]
    ys = [v for p in points for v in p[1:] if v is not None]
    ys += [*(band or ()), *([level[0]] if level else [])]
    xs = [p[0] for p in points]
    span = (min(xs), max(xs)) if max(xs) > min(xs) else (min(xs) - 0.5, max(xs) + 0.5)
    plane = _Plane(span, _padded(min(ys), max(ys)))
    marks = x_ticks or {
        t: f"{t:g}" for t in (sorted(set(xs)) if len(set(xs)) <= 7 else ticks(*span, 5))
    }
    out = [
        f'<svg viewBox="0 0 {plane.width} {plane.height}" role="img" aria-label="{escape(title)}">'
    ]
    left, right = plane.left, plane.width - plane.right
    if band:
        low, high = plane.y(band[0]), plane.y(band[1])
        out.append(
            f'<rect class="human-band" x="{left}" width="{right - left}" y="{high:.1f}" '
            f'height="{max(low - high, 1.5):.1f}"/>'
        )
    out += _axes(plane, x_title, marks, format)
    areas = len(series) <= 3  # more areas hide one another
    for k, line in enumerate(series.values()):
        out += _line(plane, sorted(line), f"var(--s{k % SERIES})", areas, format)
    if level:
        y = f"{plane.y(level[0]):.1f}"
        out.append(
            f'<line class="candidate" x1="{left}" x2="{right}" y1="{y}" y2="{y}">'
            f"<title>{escape(level[1])}: {escape(format(level[0]))}</title></line>"
        )
    return Markup("".join(out) + "</svg>")


def _axes(
    plane: _Plane, x_title: str, x_ticks: Mapping[float, str], format: Callable[[float], str]
) -> list[str]:
    """The grid with its labels."""
    left, right, bottom = plane.left, plane.width - plane.right, plane.height - plane.bottom
    out = []
    for t in ticks(*plane.ys):
        out.append(
            f'<line class="grid" x1="{left}" x2="{right}" y1="{plane.y(t):.1f}" '
            f'y2="{plane.y(t):.1f}"/>'
            f'<text class="tick" x="{left - 6}" y="{plane.y(t) + 3.5:.1f}" '
            f'text-anchor="end">{escape(format(t))}</text>'
        )
    for t, label in x_ticks.items():
        out.append(
            f'<text class="tick" x="{plane.x(t):.1f}" y="{bottom + 15}" '
            f'text-anchor="middle">{label}</text>'
        )
    out.append(
        f'<text class="axis" x="{(left + right) / 2}" y="{plane.height - 4}" '
        f'text-anchor="middle">{escape(x_title)}</text>'
    )
    return out


def _line(
    plane: _Plane,
    points: Sequence[Point],
    colour: str,
    with_area: bool,
    format: Callable[[float], str],
) -> list[str]:
    """One series: the area of its intervals, the line, and a dot for each of few points."""
    path = lambda corners: " ".join(f"{plane.x(x):.1f},{plane.y(y):.1f}" for x, y in corners)
    out = []
    if with_area and all(p[2] is not None for p in points) and len(points) > 1:
        area = [(p[0], p[3]) for p in points] + [(p[0], p[2]) for p in reversed(points)]
        out.append(f'<polygon points="{path(area)}" fill="{colour}" opacity=".13"/>')
    middle = path([p[:2] for p in points])
    out.append(f'<polyline points="{middle}" fill="none" stroke="{colour}" stroke-width="2"/>')
    for x, y, *_ in points if len(points) <= 20 else ():
        out.append(
            f'<circle cx="{plane.x(x):.1f}" cy="{plane.y(y):.1f}" r="3" fill="{colour}">'
            f"<title>{x:g}: {escape(format(y))}</title></circle>"
        )
    return out


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
            f'<line class="grid" x1="{left}" x2="{width - right}" y1="{py(t):.1f}" '
            f'y2="{py(t):.1f}"/>'
            f'<text class="tick" x="{left - 6}" y="{py(t) + 3.5:.1f}" '
            f'text-anchor="end">{100 * t:.0f}%</text>'
        )
    for t in ticks(edges[0], edges[-1], 5):
        out.append(
            f'<text class="tick" x="{px(t):.1f}" y="{height - bottom + 15}" '
            f'text-anchor="middle">{t:g}</text>'
        )
    out.append(
        f'<text class="axis" x="{(left + width - right) / 2}" y="{height - 4}" '
        f'text-anchor="middle">{escape(x_title)}</text>'
    )
    for name, heights in shares.items():
        steps = [(x, y) for a, b, y in zip(edges, edges[1:], heights) for x in (a, b)]
        corners = [(edges[0], 0), *steps, (edges[-1], 0)]
        out.append(
            f'<polygon class="bars {name}" '
            f'points="{" ".join(f"{px(x):.1f},{py(y):.1f}" for x, y in corners)}"/>'
        )
    return Markup("".join(out) + "</svg>")


def strip(
    rows: Sequence[tuple[str, float, float | None, float | None]], human: tuple[float, float] | None
) -> Markup:
    """Values with intervals on one scale, the human range behind.

    A row holds a CSS colour, the value, and its interval.
    """
    width, step = 260, 16
    height = step * len(rows) + 4
    values = [v for row in rows for v in row[1:] if v is not None] + list(human or ())
    x0, x1 = _padded(min(values), max(values))
    px = lambda x: 8 + (x - x0) / (x1 - x0) * (width - 16)
    out = [f'<svg class="strip" viewBox="0 0 {width} {height}" aria-hidden="true">']
    if human:
        out.append(
            f'<rect class="human-band" x="{px(human[0]):.1f}" '
            f'width="{max(px(human[1]) - px(human[0]), 3):.1f}" '
            f'y="0" height="{height}" rx="2"/>'
        )
    for k, (colour, value, low, high) in enumerate(rows):
        y = step * k + step / 2 + 2
        if low is not None:
            out.append(
                f'<line stroke="{colour}" x1="{px(low):.1f}" x2="{px(high):.1f}" '
                f'y1="{y}" y2="{y}"/>'
            )
        out.append(f'<circle fill="{colour}" cx="{px(value):.1f}" cy="{y}" r="4.5"/>')
    return Markup("".join(out) + "</svg>")


def scatter(groups: Mapping[str, np.ndarray], colours: Mapping[str, str]) -> Markup:
    """Points [n, 2] by group, drawn in turn so that no group hides another.

    A cross marks the mean of each group.
    """
    colour = [colours[name] for name in groups]
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
            out.append(
                f'<circle class="map" fill="{colour[g]}" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>'
            )
    for g, points in enumerate(groups.values()):
        x, y = place(points.mean(0))
        out.append(
            f'<path class="cross" stroke="{colour[g]}" '
            f'd="M{x - 9:.1f} {y:.1f}h18M{x:.1f} {y - 9:.1f}v18"/>'
        )
    return Markup("".join(out) + "</svg>")


def _padded(low: float, high: float) -> tuple[float, float]:
    room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room
