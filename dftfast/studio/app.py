"""The page's server: its files, its session, and the routes behind them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from dftfast.runtime.errors import UserError
from dftfast.studio.desk import Desk
from dftfast.studio.draft_routes import draft_routes
from dftfast.studio.page_files import page, page_files
from dftfast.studio.page_guard import PageGuard
from dftfast.studio.writing_routes import writing_routes

if TYPE_CHECKING:
    from fastapi import FastAPI


def make_app(desk: Desk) -> FastAPI:
    """The application. `app.openapi()` describes its routes; nothing serves that."""
    from fastapi import FastAPI, HTTPException
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse

    @asynccontextmanager
    async def life(app):
        yield
        desk.writer.close()

    app: Any = FastAPI(title="dftfast write", openapi_url=None, lifespan=life)
    app.include_router(draft_routes(desk))
    app.include_router(writing_routes(desk))
    _add_pages(app, desk)

    def invalid(request, error: RequestValidationError) -> JSONResponse:
        """Which field, and nothing of what was sent: it may not even be text."""
        first = error.errors()[0]
        where = ".".join(str(each)[:40] for each in first["loc"]).encode("ascii", "replace")
        return JSONResponse({"error": f"{where.decode()}: {first['msg']}"}, 422)

    def refused(request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)

    def mistaken(request, error: UserError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 400)

    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(UserError, mistaken)
    app.add_middleware(PageGuard, sessions=desk.sessions, names=desk.names, limits=desk.limits)
    return app


def _add_pages(app: FastAPI, desk: Desk) -> None:
    """The page itself, its files, and the question for the password."""
    from fastapi.responses import HTMLResponse, RedirectResponse, Response

    sessions = desk.sessions

    def begin(response: Any, value: str, request: Any) -> Any:
        secure = request.url.scheme == "https"
        response.set_cookie(sessions.cookie, value, httponly=True, samesite="strict", secure=secure)
        return response

    async def index(request) -> Response:
        cookie = request.cookies.get(sessions.cookie)
        if sessions.valid(cookie):
            return HTMLResponse(page("index.html", sessions.token(cookie)))
        if sessions.asks_password:
            return HTMLResponse(page("login.html"))
        value = sessions.begin()
        return begin(HTMLResponse(page("index.html", sessions.token(value))), value, request)

    async def login(request) -> Response:
        fields = parse_qs((await request.body()).decode("utf-8", "replace"))
        if not sessions.admits(fields.get("password", [""])[0]):
            return HTMLResponse(page("login.html").replace(" hidden", "", 1), 403)
        return begin(RedirectResponse("/", 303), sessions.begin(), request)

    async def file(request) -> Response:
        kind, content = page_files().get(request.path_params["name"], ("", b""))
        return Response(content, media_type=kind) if kind else Response("no such file", 404)

    app.add_route("/", index)
    app.add_route("/login", login, methods=["POST"])
    app.add_route("/page/{name}", file)
