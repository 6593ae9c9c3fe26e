"""Nothing that was typed is lost."""

from __future__ import annotations

import json

import pytest
from page_server import BRIEF, EMPTY

from dftfast.data import load_corpus
from dftfast.studio.draft_store import DraftStore
from dftfast.studio.model_share import model_share

JSON = {"content-type": "application/json"}


def put(client, draft, text, revision=None, **more):
    given = EMPTY | {"text": text, "revision": revision or draft["revision"]} | more
    return client.put(f"/api/drafts/{draft['id']}", json=given)


def test_a_draft_is_saved_and_found_again(client, draft, desk):
    saved = put(client, draft, "Grüße 🙂", brief=BRIEF).json()
    assert saved["revision"] == draft["revision"] + 1
    assert client.get(f"/api/drafts/{draft['id']}").json() == saved
    assert client.get("/api/drafts").json()[0]["start"] == "Grüße 🙂"
    assert DraftStore(desk.store.folder).get(draft["id"])["text"] == "Grüße 🙂"


def test_two_tabs_lose_nothing(client, draft):
    assert put(client, draft, "of the first").status_code == 200
    late = put(client, draft, "of the second")
    assert late.status_code == 409 and late.json()["text"] == "of the first"
    versions = client.get(f"/api/drafts/{draft['id']}/versions").json()
    assert [(v["why"], v["text"]) for v in versions] == [("in another tab", "of the second")]


def test_versions_are_kept_once(client, draft):
    path = f"/api/drafts/{draft['id']}/versions"
    for text in ("one", "one", " ", "two"):
        client.post(path, json={"text": text})
    assert [v["text"] for v in client.get(path).json()] == ["one", "two"]


def test_a_version_that_was_half_written_is_passed_over(tmp_path):
    store = DraftStore(tmp_path)
    draft = store.new(EMPTY)
    store.keep(draft["id"], "kept", "whole")
    with open(tmp_path / f"{draft['id']}.versions.jsonl", "a") as file:
        file.write('\n{"at": 1, "why": "ke')
    store.keep(draft["id"], "kept", "next")
    assert [v["text"] for v in store.versions(draft["id"])] == ["whole", "next"]


def test_a_removed_draft_is_moved_away(client, draft, desk):
    put(client, draft, "some words")
    assert client.delete(f"/api/drafts/{draft['id']}").json() == {"removed": True}
    assert client.get(f"/api/drafts/{draft['id']}").status_code == 404
    assert put(client, draft, "more").status_code == 404
    kept = desk.store.folder / "removed" / f"{draft['id']}.json"
    assert json.loads(kept.read_text())["text"] == "some words"


def test_a_draft_becomes_a_row_of_a_corpus(client, draft, tmp_path):
    text = "We sold 1,250 copies of it in the first year, and then we stopped."
    put(client, draft, text, brief=BRIEF, written="In the first year, and then nothing.")
    row = client.get(f"/api/drafts/{draft['id']}/row").json()
    assert row["model_share"] == pytest.approx(6 / 15, abs=1e-3)
    path = tmp_path / "row.jsonl"
    path.write_text(json.dumps(row) + "\n")
    (document,) = load_corpus([str(path)])
    assert (document.text, document.prompt) == (text, BRIEF["prompt"])
    assert document.outline == tuple(BRIEF["outline"]) and document.target_words == 20


def test_the_share_that_a_model_wrote():
    written = "one two three four five six seven"
    assert model_share(written, f"Before. {written}") == 1
    assert model_share("one two three four and five six seven", written) == 0
    assert model_share("zero one two three four five", written) == pytest.approx(5 / 6, abs=1e-3)
    assert model_share("", written) == 0 and model_share("mine", "") == 0


def test_text_that_is_no_text_is_refused(client, draft):
    raw = '{"brief": {}, "text": "\\ud800", "revision": 1}'
    answer = client.put(f"/api/drafts/{draft['id']}", content=raw, headers=JSON)
    assert answer.status_code == 422 and "text" in answer.json()["error"]
    wrong = {"brief": {"words": 0}, "text": ""}
    assert client.post("/api/drafts", json=wrong).json()["error"].startswith("body.brief.words")
