"""SIGTERM and Ctrl-C: the first ends the run where it can go on from, the second at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dftfast.runtime.errors import Interrupted

_requested = _held = False


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Within the block a signal raises Interrupted; inside `held`, when that is ready for it.

    Files are whole or absent (`dftfast.runtime.files`), so outside `held` any moment will do.
    """
    global _requested
    # Python delivers signals to the main thread only
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _requested = False
    before = {number: signal.signal(number, _stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        _requested = False
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def held() -> Iterator[Callable[[], bool]]:
    """Hold signals back; yields a function that tells whether one has come.

    Leaving the block then raises.
    """
    global _held
    _held = True
    try:
        yield lambda: _requested
    finally:
        _held = False
    if _requested:
        raise Interrupted


def _stop(number: int, frame: object) -> None:
    global _requested
    _requested = True
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_DFL)
    os.write(2, b"\nstopping after this step; once more stops at once\n")
    if not _held:
        raise Interrupted


def requested() -> bool:
    """Whether a signal has come."""
    return _requested
