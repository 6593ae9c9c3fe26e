"""Charts as SVG that can be read at 390 pixels, on light and dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, RIGHT, ROW, TOP = 560, 220, 40, 44, 20
STYLE = """<style>
rect { stroke: none !important; }
.paper { fill: #fff; }
text { font: 22px system-ui, sans-serif; fill: #1a1a1a; }
.small { font-size: 18px; fill: #555; }
.line { stroke: #999; stroke-width: 2; }
.band { fill: #2e9d5b; opacity: .25; }
.ours { fill: #1f6fd6; stroke: #1f6fd6; stroke-width: 5; }
.base { fill: #c4552d; stroke: none; }
@media (prefers-color-scheme: dark) {
  .paper { fill: #16181d; } text { fill: #eee; } .small { fill: #aaa; } .line { stroke: #777; }
  .ours { fill: #6aa9ff; stroke: #6aa9ff; } .base { fill: #ff9168; } .band { opacity: .4; }
}
</style>"""


@dataclass(frozen=True)
class Dumbbell:
    """One row of a chart: a figure with its range, a mark, and a band."""

    label: str
    value: float
    low: float
    high: float
    band: tuple[float, float] | None = None


def dumbbells(rows: Sequence[Dumbbell], title: str, caption: str) -> str:
    """A row a metric: 0 is human text and 1 the best baseline, a bar the range of ours."""
    most = max(1.1, *(row.high for row in rows)) if rows else 1.1
    least = min(-0.1, *(row.low for row in rows)) if rows else -0.1
    x = lambda value: LEFT + (WIDTH - LEFT - RIGHT) * (value - least) / (most - least)
    bottom = TOP + ROW * len(rows)
    parts = []
    for i, row in enumerate(rows):
        y = TOP + ROW * i + ROW / 2
        if row.band:
            low, high = (min(max(end, least), most) for end in row.band)
            width = x(high) - x(low)
            parts.append(
                f'<rect class="band" x="{x(low):.1f}" y="{y - 15:.1f}" width="{width:.1f}" '
                'height="30"/>'
            )
        parts += [
            f'<text x="{LEFT - 14}" y="{y + 8:.1f}" text-anchor="end">{escape(row.label)}</text>',
            f'<line class="line" x1="{x(row.value):.1f}" y1="{y:.1f}" x2="{x(1):.1f}" '
            f'y2="{y:.1f}"/>',
            f'<line class="ours" x1="{x(row.low):.1f}" y1="{y:.1f}" x2="{x(row.high):.1f}" '
            f'y2="{y:.1f}"/>',
            f'<circle class="ours" cx="{x(row.value):.1f}" cy="{y:.1f}" r="8"/>',
            f'<circle class="base" cx="{x(1):.1f}" cy="{y:.1f}" r="9"/>',
        ]
    name = lambda place, anchor, text: (
        f'<text class="small" x="{place:.1f}" y="{bottom + 28}" text-anchor="{anchor}">{text}'
        "</text>"
    )
    axis = [
        f'<line class="line" x1="{x(0):.1f}" y1="{TOP}" x2="{x(0):.1f}" y2="{bottom}"/>',
        name(x(0) + 25, "end", "human"),
        name(x(1), "middle", "best SFT"),
        f'<text class="small" x="10" y="{bottom + 62}">{escape(caption)}</text>',
    ]
    return _svg(bottom + 80, title, [*axis, *parts])


def bars(rows: Sequence[tuple[str, float]], title: str, caption: str) -> str:
    """A bar a row, from 0, with its figure; a line stands at 1."""
    most = max(1.2, *(value for _, value in rows)) if rows else 1.2
    left, right = 190, 70
    x = lambda value: left + (WIDTH - left - right) * value / most
    bottom = TOP + ROW * len(rows)
    parts = []
    for i, (label, value) in enumerate(rows):
        y = TOP + ROW * i + ROW / 2
        kind = "ours" if value >= 1 else "base"
        parts += [
            f'<text x="{left - 14}" y="{y + 8:.1f}" text-anchor="end">{escape(label)}</text>',
            f'<rect class="{kind}" x="{left}" y="{y - 13:.1f}" '
            f'width="{x(value) - left:.1f}" height="26"/>',
            f'<text x="{x(max(value, 1)) + 10:.1f}" y="{y + 8:.1f}">{value:.2f}</text>',
        ]
    axis = [
        f'<line class="line" x1="{x(1):.1f}" y1="{TOP}" x2="{x(1):.1f}" y2="{bottom}"/>',
        f'<text class="small" x="10" y="{bottom + 34}">{escape(caption)}</text>',
    ]
    return _svg(bottom + 52, title, [*parts, *axis])


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="{escape(title)}">'
    )
    # a page may be dark where the system is light, and letters must not depend on it
    paper = '<rect class="paper" width="100%" height="100%" rx="10"/>'
    return "\n".join([head, f"<title>{escape(title)}</title>", STYLE, paper, *parts, "</svg>", ""])
