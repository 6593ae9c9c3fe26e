"""The files of the page, read once: what is not among them is not served."""

from __future__ import annotations

from functools import cache
from importlib import resources

_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@cache
def page_files() -> dict[str, tuple[str, bytes]]:
    """Name -> (media type, content) of what the page loads."""
    folder = resources.files("dftfast.studio") / "page"
    return {
        file.name: (f"{_KINDS[ending]}; charset=utf-8", file.read_bytes())
        for file in folder.iterdir()
        if (ending := file.name[file.name.rfind(".") :]) in _KINDS
    }


def page(name: str, token: str = "") -> str:
    """A page's HTML with the token in its place."""
    file = resources.files("dftfast.studio") / "page" / name
    return file.read_text(encoding="utf-8").replace("{{ token }}", token)
