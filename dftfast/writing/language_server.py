"""Findings in an editor, as one writes: a language server over standard input and output.

Needs the extra `language-server` (pygls).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dftfast.runtime.errors import UserError
from dftfast.runtime.version import __version__
from dftfast.writing.checked_texts import PROSE, CheckedText, prose
from dftfast.writing.checking import check
from dftfast.writing.rule import SEVERITIES, Finding, Rule

if TYPE_CHECKING:
    from lsprotocol import types


def serve(rules: Sequence[Rule]) -> None:
    """Answer an editor until it says goodbye.

    Raises:
        UserError: pygls is not installed.
    """
    try:
        from lsprotocol import types
        from pygls.lsp.server import LanguageServer
    except ImportError:
        raise UserError(
            "the language server needs pygls: pip install 'dftfast[language-server]'"
        ) from None
    server: Any = LanguageServer("dftfast", __version__)

    def opened(params):
        document = server.workspace.get_text_document(params.text_document.uri)
        server.text_document_publish_diagnostics(
            types.PublishDiagnosticsParams(
                document.uri, CheckedDocument(document, rules).diagnostics(), document.version
            )
        )

    def closed(params):
        server.text_document_publish_diagnostics(
            types.PublishDiagnosticsParams(params.text_document.uri, [])
        )

    def asked(params):
        document = server.workspace.get_text_document(params.text_document.uri)
        return CheckedDocument(document, rules).actions(params.range)

    fixes = types.CodeActionOptions([types.CodeActionKind.QuickFix])
    server.feature(types.TEXT_DOCUMENT_DID_OPEN)(opened)
    server.feature(types.TEXT_DOCUMENT_DID_CHANGE)(opened)
    server.feature(types.TEXT_DOCUMENT_DID_CLOSE)(closed)
    server.feature(types.TEXT_DOCUMENT_CODE_ACTION, fixes)(asked)
    server.start_io()


class CheckedDocument:
    """A document of an editor and its findings, in the editor's terms.

    Args:
        document: pygls' TextDocument.
    """

    def __init__(self, document: Any, rules: Sequence[Rule]):
        ending = PurePosixPath(urlsplit(document.uri).path).suffix.lower()
        self._document = document
        self._lines = document.source.split("\n")
        self._text = prose(document.source, ending if ending in PROSE else ".txt")
        self._place = CheckedText(document.uri, self._text).place
        self.mistake = ""
        try:
            self.findings = check(self._text, rules)
        except UserError as error:
            self.findings, self.mistake = [], str(error)

    def diagnostics(self) -> list[types.Diagnostic]:
        from lsprotocol import types

        levels = (
            types.DiagnosticSeverity.Error,
            types.DiagnosticSeverity.Warning,
            types.DiagnosticSeverity.Information,
        )
        found = [
            types.Diagnostic(
                self._range(finding),
                finding.message,
                severity=levels[SEVERITIES.index(finding.severity)],
                code=finding.rule,
                source="dftfast",
            )
            for finding in self.findings
        ]
        if self.mistake:
            start = types.Position(0, 0)
            found.append(
                types.Diagnostic(types.Range(start, start), self.mistake, source="dftfast")
            )
        return found

    def actions(self, asked: types.Range) -> list[types.CodeAction]:
        """For each finding there: put the replacement, or ignore the rule in this line."""
        from lsprotocol import types

        found = []
        for finding in self.findings:
            place = self._range(finding)
            if place.start > asked.end or place.end < asked.start:
                continue
            if finding.replacement is not None:
                title = f"Replace by {finding.replacement!r}" if finding.replacement else "Remove"
                edit = types.TextEdit(place, finding.replacement)
                found.append(self._action(f"{title} ({finding.rule})", edit))
            line = self._place(finding.start)[0] - 1
            end = self._position(line, len(self._lines[line].rstrip("\r")))
            comment = f" <!-- dftfast-ignore: {finding.rule} -->"
            edit = types.TextEdit(types.Range(end, end), comment)
            found.append(self._action(f"Ignore {finding.rule} in this line", edit))
        return found

    def _action(self, title: str, edit: types.TextEdit) -> types.CodeAction:
        from lsprotocol import types

        changes = types.WorkspaceEdit(changes={self._document.uri: [edit]})
        return types.CodeAction(title, kind=types.CodeActionKind.QuickFix, edit=changes)

    def _range(self, finding: Finding) -> types.Range:
        from lsprotocol import types

        (line, column), (end, after) = self._place(finding.start), self._place(finding.end)
        return types.Range(self._position(line - 1, column - 1), self._position(end - 1, after - 1))

    def _position(self, line: int, column: int) -> types.Position:
        """In the units that the editor counts, mostly UTF-16."""
        from lsprotocol import types

        units = self._document.position_codec.client_num_units(self._lines[line][:column])
        return types.Position(line, units)
