"""The libraries of the extra, which `dftfast[test]` brings."""

from __future__ import annotations

import pytest

from dftfast.prepare.installed import check_installed
from dftfast.runtime.errors import UserError


@pytest.fixture(autouse=True)
def libraries():
    try:
        check_installed()
    except UserError as error:
        pytest.skip(str(error))
