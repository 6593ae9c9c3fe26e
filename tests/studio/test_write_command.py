"""`dftfast write` refuses before a model is read."""

from __future__ import annotations

import pytest

from dftfast import write
from dftfast.runtime.errors import UserError


@pytest.fixture(autouse=True)
def no_model(monkeypatch):
    monkeypatch.setattr(write, "make_desk", lambda *_: pytest.fail("a model was read"))


@pytest.mark.parametrize("missing", ["fastapi", "uvicorn"])
def test_a_missing_library_is_named(missing, monkeypatch):
    found = write.find_spec
    monkeypatch.setattr(write, "find_spec", lambda name: None if name == missing else found(name))
    with pytest.raises(UserError, match=rf"needs {missing}: pip install 'dftfast\[write\]'"):
        write.main([])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--port", "99999"], "--port: 99999 is not between"),
        (["--host", "0.0.0.0"], "lets other machines in; give --password-file"),
        (["--password-file", "nowhere"], "--password-file: cannot be read"),
        (["--swapped-words", "-1"], "--swapped-words: -1 must be 0 or more"),
        (["--endpoint", "a=http://x,y", "--model", "z"], "--model: is for models on this machine"),
    ],
)
def test_options_that_cannot_be(options, why):
    with pytest.raises(UserError, match=why):
        write.main(options)
