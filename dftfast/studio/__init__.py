"""A page to write in: a brief, a draft by a model, and checks against a corpus as it is edited."""

from dftfast.studio.app import make_app
from dftfast.studio.desk import Desk

__all__ = ["Desk", "make_app"]
