"""A writer behind an OpenAI-compatible API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from dftfast.data import Document, prompt_messages
from dftfast.endpoint import ChatClient, ChatRequest, Endpoint
from dftfast.endpoint.chat import Refused, Transient
from dftfast.rollout import Sampler
from dftfast.runtime.errors import UserError
from dftfast.studio.writer import Gap, Piece, most_tokens

_AGAIN = (
    "Below is the draft that you are writing, up to a gap and from it on. Write the {kind} that "
    "stands in the gap, in other words than the old one. Answer with it alone.\n\n"
    "Before the gap:\n{before}\n\nOld {kind}:\n{old}\n\nAfter the gap:\n{after}"
)
_AROUND = 6000  # characters of the draft that are shown on either side


class EndpointWriter:
    """Asks an endpoint; it is told the brief as local models are.

    Raises:
        UserError: the openai package is not installed.
    """

    candidates = 3  # each is paid for

    def __init__(self, endpoint: Endpoint, sampler: Sampler):
        self.name, self.sampler = f"{endpoint.model} at {endpoint.host}", sampler
        self._endpoint, self.state = endpoint, "ready"
        self._client()

    def _client(self) -> ChatClient:
        return ChatClient(self._endpoint, droppable=("top_p", "temperature"))

    async def write(self, brief: Document, drafts: int) -> AsyncGenerator[Piece, None]:
        queue: asyncio.Queue[Piece | Exception] = asyncio.Queue()
        request = self._request(prompt_messages(brief), most_tokens(brief, self.sampler))

        async def one(client: ChatClient, sample: int) -> None:
            try:
                async with aclosing(client.stream(request)) as pieces:
                    async for text, finish in pieces:
                        queue.put_nowait(Piece(sample, text, finish))
            except Exception as error:
                queue.put_nowait(error)

        async with self._client() as client:
            tasks = [asyncio.ensure_future(one(client, each)) for each in range(drafts)]
            left = drafts
            try:
                while left:
                    piece = await queue.get()
                    if isinstance(piece, Exception):
                        raise self._meaning(piece)
                    left -= piece.finish is not None
                    yield piece
            finally:
                await _ended(tasks)

    async def rewrite(self, brief: Document, gap: Gap, count: int) -> AsyncGenerator[str, None]:
        asked = _AGAIN.format(
            kind="paragraph" if gap.is_paragraph else "sentence",
            before=gap.before[-_AROUND:].strip(),
            old=gap.old,
            after=gap.after[:_AROUND].strip(),
        )
        question = [*prompt_messages(brief), {"role": "user", "content": asked}]
        seen = {gap.old}
        async with self._client() as client:
            tasks = [
                asyncio.ensure_future(client(self._request(question, self.sampler.max_tokens)))
                for _ in range(count)
            ]
            try:
                for done in asyncio.as_completed(tasks):
                    text = " ".join((await done).text.split())
                    if text and text not in seen:
                        seen.add(text)
                        yield text
            except Exception as error:
                raise self._meaning(error) from error
            finally:
                await _ended(tasks)

    def close(self) -> None:
        """Nothing goes on after the requests that are under way."""

    def _request(self, messages: list[dict], most: int) -> ChatRequest:
        settings = {"temperature": self.sampler.temperature, "top_p": self.sampler.top_p}
        return ChatRequest("draft", messages, most, settings)

    def _meaning(self, error: Exception) -> Exception:
        if isinstance(error, (Transient, Refused)):
            return UserError(f"{self.name}: {error}; try again")
        return error


async def _ended(tasks: Sequence[asyncio.Future]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
