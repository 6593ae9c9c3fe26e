"""An iterator that blocks, run in a thread of its own for a loop that must not wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from concurrent.futures import Executor
from contextlib import closing
from typing import Any, TypeVar, cast

Item = TypeVar("Item")


async def in_thread(
    executor: Executor, make: Callable[[], Iterator[Item]]
) -> AsyncGenerator[Item, None]:
    """The items of the iterator that `make` gives, which is closed when this one is.

    What it raises is raised here.
    """
    loop, stopped = asyncio.get_running_loop(), threading.Event()
    queue: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    def put(kind: str, value: object = None) -> None:
        if not stopped.is_set():
            loop.call_soon_threadsafe(queue.put_nowait, (kind, value))

    def work() -> None:
        if stopped.is_set():
            return
        try:
            with closing(cast(Generator, make())) as items:
                for item in items:
                    if stopped.is_set():
                        return
                    put("item", item)
        except Exception as error:
            put("error", error)
        else:
            put("end")

    future = executor.submit(work)
    try:
        while (told := await queue.get())[0] != "end":
            if told[0] == "error":
                raise told[1]
            yield told[1]
    finally:
        stopped.set()
        future.cancel()
