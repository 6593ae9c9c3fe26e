"""The rules of cleaning, as --without and the report call them."""

from __future__ import annotations

from dftfast.prepare.document_rules import DOCUMENT_RULES
from dftfast.prepare.lines import LINE_RULES

RULES = (*LINE_RULES, "short", *DOCUMENT_RULES)
