"""So many requests in a minute, of all pages together."""

from __future__ import annotations

import time
from collections.abc import Callable


class RateLimit:
    """A bucket that fills evenly; each request takes one from it.

    Args:
        per_minute: requests that it lets through in a minute once it is empty.
        burst: requests that it holds when full.
        clock: seconds.
    """

    def __init__(
        self, per_minute: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.per_second, self.burst, self._clock = per_minute / 60, burst, clock
        self._left, self._at = float(burst), clock()

    def wait(self) -> float:
        """0 lets the request through; else the seconds until one will be."""
        now = self._clock()
        self._left = min(self.burst, self._left + (now - self._at) * self.per_second)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / self.per_second
