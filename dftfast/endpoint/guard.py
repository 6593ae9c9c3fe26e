"""What an HTTP client is given so that a server can neither flood nor divert it."""

from __future__ import annotations

from collections.abc import AsyncIterator

MOST_BYTES = 4 << 20  # of an answer: some hundred times the longest text that is asked for


class TooLarge(Exception):
    """An answer without an end, or packed though it was asked for plain."""


async def bound(response) -> None:
    """An event hook of httpx: the body of a response ends at `MOST_BYTES`.

    What is packed can unpack to a thousand times its size, so a packed body is not read at all.
    """
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise TooLarge("the answer is packed, though it was asked for as it is")
    # the client asks whether a stream is of its own kind, and openai has its own client
    kind = next(c for c in type(response.stream).__mro__ if c.__name__ == "AsyncByteStream")
    response.stream = type("Bounded", (_Bounded, kind), {})(response.stream)


class _Bounded:
    """An asynchronous stream of bytes of which no more than `MOST_BYTES` are read."""

    def __init__(self, stream):
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for part in self._stream:
            size += len(part)
            if size > MOST_BYTES:
                raise TooLarge(f"an answer of more than {MOST_BYTES >> 20} MiB")
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()
