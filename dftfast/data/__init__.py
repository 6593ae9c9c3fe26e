"""Corpora: human texts with the briefs that ask for them."""

from __future__ import annotations

from dftfast.data.docstrings import docstring_corpus
from dftfast.data.document import Document
from dftfast.data.load import load_corpus
from dftfast.data.prompt import prompt_messages
from dftfast.data.split import Split, check_sizes, near_duplicates, split_corpus

__all__ = [
    "Document",
    "Split",
    "check_sizes",
    "docstring_corpus",
    "load_corpus",
    "near_duplicates",
    "prompt_messages",
    "split_corpus",
]
