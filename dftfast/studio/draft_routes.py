"""The routes that keep drafts and check them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dftfast.studio.desk import Desk
from dftfast.studio.draft_check import check_draft
from dftfast.studio.draft_store import Conflict
from dftfast.studio.model_share import model_share
from dftfast.studio.page_requests import Brief, Checked, Content, Saved, Version

if TYPE_CHECKING:
    from fastapi import APIRouter


def draft_routes(desk: Desk) -> APIRouter:
    from fastapi import APIRouter, HTTPException
    from fastapi.responses import JSONResponse

    routes, store = APIRouter(prefix="/api"), desk.store

    def found(value: Any) -> Any:
        if value is None:
            raise HTTPException(404, "there is no such draft; it may have been removed")
        return value

    @routes.get("/desk")
    def about() -> dict:
        return described(desk)

    @routes.post("/check")
    def checked(sent: Checked) -> dict:
        return check_draft(sent.text, sent.brief, desk.rules, desk.figures)

    @routes.get("/drafts")
    def drafts() -> list:
        return store.list()

    @routes.post("/drafts")
    def new(content: Content) -> dict:
        return store.new(content.model_dump())

    @routes.get("/drafts/{identifier}")
    def draft(identifier: str) -> dict:
        return found(store.get(identifier))

    @routes.put("/drafts/{identifier}")
    def save(identifier: str, sent: Saved) -> Any:
        content = sent.model_dump(exclude={"revision"})
        try:
            return found(store.save(identifier, sent.revision, content))
        except Conflict as conflict:
            return JSONResponse(conflict.current, 409)

    @routes.delete("/drafts/{identifier}")
    def remove(identifier: str) -> dict:
        return {"removed": found(store.remove(identifier) or None)}

    @routes.get("/drafts/{identifier}/versions")
    def versions(identifier: str) -> list:
        return store.versions(found(store.get(identifier))["id"])

    @routes.post("/drafts/{identifier}/versions")
    def keep(identifier: str, version: Version) -> list:
        store.keep(found(store.get(identifier))["id"], "kept", version.text)
        return store.versions(identifier)

    @routes.get("/drafts/{identifier}/row")
    def row(identifier: str) -> dict:
        return row_of(found(store.get(identifier)))

    return routes


def described(desk: Desk) -> dict:
    """What the page says of where it is served from."""
    return {
        "model": desk.writer.name,
        "state": desk.writer.state,
        "corpus": len(desk.corpus),
        "swapped_words": desk.swapped_words,
    }


def row_of(draft: dict) -> dict:
    """The draft as a row of a corpus, with the share of it that a model wrote."""
    brief = Brief.model_validate(draft["brief"]).document(draft["text"])
    row = {
        "id": draft["id"],
        "text": draft["text"],
        "prompt": brief.prompt,
        "use_case": brief.use_case,
        "style": brief.style,
        "outline": list(brief.outline),
        "target_words": brief.target_words,
        "em_dashes_allowed": brief.em_dashes_allowed,
        "model_share": model_share(draft["text"], draft["written"]),
    }
    return {name: value for name, value in row.items() if value is not None}
