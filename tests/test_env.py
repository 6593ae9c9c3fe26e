"""What `dftfast env` prints, and that the command of commands knows every one."""

from __future__ import annotations

import pytest

from dftfast import env
from dftfast.__main__ import COMMANDS, dispatch, usage
from dftfast.runtime.errors import UserError
from dftfast.runtime.version import __version__


def test_a_report_of_a_fault_has_versions_and_hardware(capsys):
    dispatch(["env"])
    rows = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert rows["dftfast"] == __version__ and {"python", "torch", "cards", "cuda"} <= set(rows)


def test_no_folder_or_user_is_in_it(monkeypatch):
    monkeypatch.setenv("USER", "somebody-private")
    text = env.env_text()
    assert "somebody-private" not in text and "/home" not in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_answers_for_help(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        dispatch([name, "--help"])
    assert stopped.value.code in (0, None) and "usage" in capsys.readouterr().out
    assert f"  {name} " in usage()


def test_the_version_and_a_wrong_name(capsys):
    dispatch(["--version"])
    assert capsys.readouterr().out == f"dftfast {__version__}\n"
    with pytest.raises(UserError, match="did you mean 'train'"):
        dispatch(["trian"])
