"""Bytes of a text file to lines, whatever system wrote them."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

from dftfast.prepare.piece import Skip

LONGEST_LINE = 4 * 2**20  # characters, as in a corpus
LARGEST_DOCUMENT = 64 * 2**20  # bytes of a document, or of a file that is read as a whole
_HEAD = 2**16  # bytes that tell the encoding
_STRANGE = 0.01  # share of characters that cannot be decoded, or control: more is no text
_MARKS = (  # a mark of UTF-32 begins as one of UTF-16 does
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What texts without a mark are written in, by the WHATWG's list of encodings: pages of DOS and the
# like, which hardly any text is in, win on the few accents of an English text otherwise.
_LEGACY = (
    *("cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258"),
    *("cp866", "cp874", "iso8859_2", "iso8859_5", "iso8859_7", "koi8_r", "koi8_u", "mac_roman"),
    *("gb18030", "big5", "cp932", "euc_jp", "cp949"),
)


def encoding_of(head: bytes) -> str:
    """The encoding of a file that begins so.

    Raises:
        Skip: it is no text.
    """
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    if head.count(0) > 0.2 * len(head):  # UTF-16 without its mark: every other byte of Latin is 0
        return "utf-16-le" if head[1::2].count(0) > head[::2].count(0) else "utf-16-be"
    if b"\0" in head:
        raise Skip("binary, not text")
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # a character may be cut at the end
        return "utf-8"
    except UnicodeDecodeError:
        pass
    return _legacy_encoding(head)


def _legacy_encoding(head: bytes) -> str:
    import charset_normalizer

    found = list(charset_normalizer.from_bytes(head, cp_isolation=list(_LEGACY)))
    if not found:
        raise Skip("binary, or text in an unknown encoding")
    # few accents fit several encodings equally well: then it is the one of most such files
    score = (found[0].chaos, found[0].coherence)
    alike = [match for match in found if (match.chaos, match.coherence) == score]
    western = any("cp1252" in match.could_be_from_charset for match in alike)
    return "cp1252" if western else found[0].encoding


def decode(raw: bytes) -> str:
    """A document of any encoding.

    Raises:
        Skip: it is no text.
    """
    text = raw.decode(encoding_of(raw[:_HEAD]), "replace")
    check_text(text[: 2**20])
    return text


def read_lines(path: Path) -> Iterator[str]:
    """Lines without their ends; the file is never in memory as a whole.

    Raises:
        Skip: it is no text, or has a line beyond all measure.
    """
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    encoding = encoding_of(head)
    check_text(head.decode(encoding, "ignore"))
    with open(path, encoding=encoding, errors="replace", newline=None) as file:
        while line := file.readline(LONGEST_LINE + 1):
            if len(line) > LONGEST_LINE:
                raise Skip(f"a line of more than {LONGEST_LINE >> 20} MiB")
            yield line.removesuffix("\n")


def check_text(text: str) -> None:
    """Raise Skip where too many characters cannot be text."""
    strange = sum(c == "\ufffd" or (c < " " and c not in "\t\n\r\f\v\x1b") for c in text)
    if strange > _STRANGE * len(text):
        raise Skip("binary, not text")


def read_whole(path: Path) -> bytes:
    """The bytes of a file that holds one document.

    Raises:
        Skip: it is larger than a document is.
    """
    if path.stat().st_size > LARGEST_DOCUMENT:
        raise Skip(f"one document of more than {LARGEST_DOCUMENT >> 20} MiB")
    return path.read_bytes()
