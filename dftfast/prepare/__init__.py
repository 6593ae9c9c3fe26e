"""From folders of documents to a corpus with briefs."""

from __future__ import annotations

from dftfast.prepare.piece import Piece, Skip
from dftfast.prepare.settings import Settings

__all__ = ["Piece", "Settings", "Skip"]
