"""A desk with a tiny model that writes at random, its server, and a page of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
sys.path.insert(0, str(Path(__file__).parent))

from byte_model import save_byte_model
from page_server import BRIEF, EMPTY, page_client, served

from dftfast.pipeline.local_texts import LocalModel
from dftfast.studio import Desk
from dftfast.studio.draft_store import DraftStore
from dftfast.studio.local_writer import LocalWriter
from dftfast.studio.page_session import Sessions
from dftfast.writing import default_rules


@pytest.fixture(scope="session")
def byte_writer(tmp_path_factory):
    folder = save_byte_model(tmp_path_factory.mktemp("byte-model"))
    model = LocalModel(str(folder), device="cpu", dtype="float32", cache_tokens=65536)
    writer = LocalWriter(model, {}, 48)
    yield writer
    writer.close()


@pytest.fixture
def make_desk(byte_writer, tmp_path):
    def make(password=None, folder=tmp_path / "drafts", **options):
        store = DraftStore(folder)
        options = {"limits": {}, "rules": default_rules(), "writer": byte_writer} | options
        return Desk(store=store, sessions=Sessions(folder, password), **options)

    return make


@pytest.fixture
def desk(make_desk):
    return make_desk()


@pytest.fixture
def address(desk):
    with served(desk) as address:
        yield address


@pytest.fixture
def client(address):
    with page_client(address) as client:
        yield client


@pytest.fixture
def draft(client):
    return client.post("/api/drafts", json=EMPTY | {"brief": BRIEF}).json()
