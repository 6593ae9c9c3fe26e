"""The writing in mails: the body that its author typed, without attachments."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from email.message import MIMEPart
from pathlib import Path

from dftfast.prepare.decode import decode
from dftfast.prepare.page_text import page_text
from dftfast.prepare.piece import Skip


def message_text(raw: bytes) -> tuple[str, str]:
    """(text, subject) of a message: its plain parts, or else its HTML.

    Attachments, forwarded messages among them, are left out.

    Raises:
        Skip: there is no text in it, or it is no message.
    """
    try:
        message = email.message_from_bytes(raw, policy=email.policy.default)
        subject = str(message.get("subject") or "")
        parts = [(part.get_content_type(), _content(part)) for part in _bodies(message)]
    except Skip:
        raise
    except Exception as error:  # the parser raises what it meets in broken headers
        raise Skip(f"not a readable message ({type(error).__name__})") from None
    plain = "\n".join(text for kind, text in parts if kind == "text/plain").strip("\n")
    html = "\n".join(text for kind, text in parts if kind == "text/html")
    if plain:
        return plain, " ".join(subject.split())
    if not html:
        raise Skip("a message without text")
    text, title = page_text(html)
    return text, " ".join(subject.split()) or title


def _bodies(part: MIMEPart) -> Iterator[MIMEPart]:
    """Text parts that are shown, without going into what is attached."""
    if part.is_attachment() or part.get_content_maintype() == "message":
        return
    if part.is_multipart():
        for inner in part.iter_parts():
            yield from _bodies(inner)
    elif part.get_content_type() in ("text/plain", "text/html"):
        yield part


def _content(part: MIMEPart) -> str:
    raw = part.get_payload(decode=True)
    if not isinstance(raw, bytes):
        return ""
    try:
        return raw.decode(part.get_content_charset() or "ascii")
    except (LookupError, UnicodeDecodeError):  # an encoding that is unknown or not the true one
        return decode(raw)


def messages_of(path: Path) -> Iterator[bytes]:
    """The messages of an mbox file, one at a time."""
    import mailbox

    box = mailbox.mbox(str(path), create=False)
    try:
        for key in box.iterkeys():
            yield box.get_bytes(key)
    finally:
        box.close()
