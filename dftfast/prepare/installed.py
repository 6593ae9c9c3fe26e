"""Whether the libraries of the extra are there, asked before any work."""

from __future__ import annotations

from importlib.util import find_spec

from dftfast.runtime.errors import UserError

_MODULES = (
    *("charset_normalizer", "datasketch", "docx", "phonenumbers", "py3langid"),
    *("sentencex", "stdnum", "stopwordsiso", "trafilatura"),
)


def check_installed() -> None:
    """Raise UserError where a library is missing."""
    missing = [name for name in _MODULES if find_spec(name) is None]
    if missing:
        raise UserError(
            f"preparing a corpus needs {', '.join(missing)}: pip install 'dftfast[prepare]'"
        )
