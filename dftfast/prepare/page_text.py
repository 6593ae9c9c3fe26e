"""The writing of an HTML page, by trafilatura (Barbaresi, ACL 2021)."""

from __future__ import annotations

import logging

from dftfast.prepare.piece import Skip


def page_text(html: str) -> tuple[str, str]:
    """(text, title) of a page: its main text, of short pages its paragraphs, or else all of it.

    Raises:
        Skip: there is no text, or the page cannot be parsed.
    """
    import trafilatura

    for name in ("trafilatura", "htmldate"):  # they log every page that has no main text
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        text = trafilatura.extract(html, include_comments=False, include_tables=False)
        metadata = trafilatura.extract_metadata(html)
        text = text or trafilatura.baseline(html)[1] or trafilatura.html2txt(html)
    except Exception as error:  # deep or broken trees end in errors of many kinds
        raise Skip(f"not readable as HTML ({type(error).__name__})") from None
    if not text:
        raise Skip("HTML without text")
    return text, (metadata.title if metadata else None) or ""
