"""A page's server on loopback, and a client that has opened the page."""

from __future__ import annotations

import re
import socket
import threading
import time
from contextlib import contextmanager

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

import httpx2
import uvicorn

from dftfast.studio import make_app

BRIEF = {"prompt": "A walk by the sea", "outline": ["sold 1,250 copies"], "words": 20}
EMPTY = {"brief": {}, "text": ""}


@contextmanager
def served(desk, port=0):
    """The address of a server of the desk."""
    listening = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(make_app(desk), log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@contextmanager
def page_client(address):
    """A client that has opened the page."""
    with httpx2.Client(base_url=address, timeout=120) as client:
        found = re.search('page-token" content="([0-9a-f]+)"', client.get("/").text)
        assert found
        client.headers["x-page-token"] = found[1]
        yield client
