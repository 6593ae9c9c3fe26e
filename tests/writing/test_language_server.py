"""An editor talks to the server."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

pytest.importorskip("pygls")

from lsprotocol import types
from pygls.lsp.client import LanguageClient

import dftfast

URI = "file:///tmp/page.md"
TEXT = "One.\n\n😀😀 We delve into\u200b it.\n"


async def talk():
    """Diagnostics of an opened text, the fixes at a place, and diagnostics after a change."""
    client, told = LanguageClient("test", "1"), asyncio.Queue()
    client.feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)(lambda p: told.put_nowait(p))
    root = str(Path(dftfast.__file__).parents[1])
    await client.start_io(sys.executable, "-m", "dftfast.check", "--server", cwd=root)
    await client.initialize_async(types.InitializeParams(capabilities=types.ClientCapabilities()))
    client.initialized(types.InitializedParams())
    opened = types.TextDocumentItem(URI, "markdown", 1, TEXT)
    client.text_document_did_open(types.DidOpenTextDocumentParams(opened))
    first = await asyncio.wait_for(told.get(), 120)
    actions = await client.text_document_code_action_async(
        types.CodeActionParams(
            types.TextDocumentIdentifier(URI),
            first.diagnostics[-1].range,
            types.CodeActionContext([]),
        )
    )
    whole = types.TextDocumentContentChangeWholeDocument("All is well.\n")
    client.text_document_did_change(
        types.DidChangeTextDocumentParams(types.VersionedTextDocumentIdentifier(2, URI), [whole])
    )
    second = await asyncio.wait_for(told.get(), 120)
    await client.shutdown_async(None)
    client.exit(None)
    await client.stop()
    return first, actions, second


def test_an_editor_sees_findings_and_mends_them():
    first, actions, second = asyncio.run(talk())
    phrase, invisible = first.diagnostics
    # an emoji is two units of UTF-16
    assert (phrase.range.start, phrase.range.end) == (types.Position(2, 8), types.Position(2, 18))
    assert phrase.code == "model-phrases" and phrase.severity == types.DiagnosticSeverity.Error
    assert invisible.range.start == types.Position(2, 18)
    edits = {action.title: action.edit.changes[URI][0] for action in actions}
    assert edits["Remove (characters)"].new_text == ""
    assert edits["Remove (characters)"].range == invisible.range
    ignore = edits["Ignore characters in this line"]
    assert ignore.range.start == types.Position(2, 23)
    assert ignore.new_text == " <!-- dftfast-ignore: characters -->"
    assert not second.diagnostics and second.version == 2
