"""`python -m dftfast.config > docs/configuration.md` writes the page of every key."""

from __future__ import annotations

import sys

from dftfast.config.help import markdown

sys.stdout.write(markdown())
