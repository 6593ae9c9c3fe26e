"""How a metric is shown and read, and when it is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """How a metric is shown and read.

    Attributes:
        better: "lower", "higher", or "human": as close as possible to the value of human texts.
        digits: after the decimal point, of a metric that is no share.
        percent: the value is a share.
        compared: whether one system can be better in it than another: not where no figure of human
            texts says what is good.
    """

    title: str
    better: Literal["lower", "higher", "human"]
    definition: str
    digits: int = 4
    percent: bool = False
    compared: bool = True

    def format(self, value: float | None) -> str:
        if value is None:
            return "–"
        value = round(value, 3 if self.percent else self.digits) + 0.0  # no minus before zero
        text = f"{100 * value:.1f}%" if self.percent else f"{value:.{self.digits}f}"
        return text.replace("-", "\u2212")
