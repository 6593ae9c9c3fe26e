"""The routes that write: lines of JSON, as the writer goes on.

None gives the answer to a prompt: what is written belongs to a draft of the page, follows its
brief, and is kept among the draft's versions however the page's connection ends.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

from dftfast.runtime.errors import UserError
from dftfast.studio.best_drafts import Draft, fewest_findings
from dftfast.studio.desk import Desk
from dftfast.studio.page_requests import Asked, Rewritten
from dftfast.studio.rewriting import gap_at
from dftfast.studio.utf16 import Utf16
from dftfast.studio.writer import Gap, Piece

if TYPE_CHECKING:
    from fastapi import APIRouter

log = logging.getLogger(__name__)
ALTERNATIVES = 5


def writing_routes(desk: Desk) -> APIRouter:
    from fastapi import APIRouter, HTTPException
    from fastapi.responses import StreamingResponse

    routes = APIRouter(prefix="/api/drafts")

    def streamed(events: AsyncGenerator[dict, None]) -> StreamingResponse:
        return StreamingResponse(_lines(events), media_type="application/x-ndjson")

    def known(identifier: str) -> str:
        if desk.store.get(identifier) is None:
            raise HTTPException(404, "there is no such draft; it may have been removed")
        return identifier

    def prompted(asked: Asked) -> None:
        if not asked.brief.prompt.strip():
            raise HTTPException(400, "the brief has no prompt: say what the text is about")

    @routes.post("/{identifier}/write")
    async def write(identifier: str, asked: Asked) -> Any:
        prompted(asked)
        return streamed(_written(desk, known(identifier), asked))

    @routes.post("/{identifier}/three")
    async def three(identifier: str, asked: Asked) -> Any:
        prompted(asked)
        return streamed(_three(desk, known(identifier), asked))

    @routes.post("/{identifier}/rewrite")
    async def rewrite(identifier: str, asked: Rewritten) -> Any:
        known(identifier)
        places = Utf16(asked.text)
        start, end = sorted((places.place(asked.start), places.place(asked.end)))
        gap = gap_at(asked.text, start, end, asked.whole_paragraph)
        span = [places.units(len(gap.before)), places.units(len(gap.before) + len(gap.old))]
        return streamed(_rewritten(desk, asked, gap, span))

    return routes


async def _written(desk: Desk, identifier: str, asked: Asked) -> AsyncGenerator[dict, None]:
    drafts = [Draft()]
    async with aclosing(_pieces(desk, identifier, asked, drafts)) as pieces:
        async for piece in pieces:
            yield piece._asdict()


async def _three(desk: Desk, identifier: str, asked: Asked) -> AsyncGenerator[dict, None]:
    """How many are done, as they are written, and then the three with the fewest findings."""
    drafts = [Draft() for _ in range(desk.writer.candidates)]
    yield {"done": 0, "of": len(drafts)}
    async with aclosing(_pieces(desk, identifier, asked, drafts)) as pieces:
        async for piece in pieces:
            if piece.finish:
                yield {"done": sum(d.finish is not None for d in drafts), "of": len(drafts)}
    chosen = partial(fewest_findings, drafts, asked.brief, desk.rules, desk.figures)
    for row in await asyncio.to_thread(chosen):
        yield row


async def _pieces(
    desk: Desk, identifier: str, asked: Asked, drafts: list[Draft]
) -> AsyncGenerator[Piece, None]:
    """What the writer writes into the drafts, which are kept as versions however this ends."""
    try:
        written = desk.writer.write(asked.brief.document(), len(drafts))
        async with aclosing(written) as pieces:
            async for piece in pieces:
                draft = drafts[piece.sample]
                draft.text, draft.finish = draft.text + piece.text, piece.finish
                yield piece
    finally:
        for number, draft in enumerate(drafts, 1):
            of = f", {number} of {len(drafts)}" if len(drafts) > 1 else ""
            desk.store.keep(identifier, f"by {desk.writer.name}{of}", draft.text.strip())


async def _rewritten(
    desk: Desk, asked: Rewritten, gap: Gap, span: list
) -> AsyncGenerator[dict, None]:
    yield {"start": span[0], "end": span[1], "old": gap.old}
    passages = desk.writer.rewrite(asked.brief.document(), gap, ALTERNATIVES)
    async with aclosing(passages) as found:
        async for text in found:
            yield {"text": text}


async def _lines(events: AsyncGenerator[dict, None]) -> AsyncGenerator[str, None]:
    """A line of JSON each; what goes wrong is the last."""
    try:
        async with aclosing(events) as each:
            async for event in each:
                yield json.dumps(event, ensure_ascii=False) + "\n"
    except UserError as error:
        yield json.dumps({"error": str(error)}, ensure_ascii=False) + "\n"
    except Exception as error:
        log.exception("the writer failed")
        said = f"the writer failed: {type(error).__name__}"
        yield json.dumps({"error": said}) + "\n"
