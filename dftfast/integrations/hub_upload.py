"""A run's result to the Hugging Face hub: the model or its adapter, its card and its report."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dftfast.runtime.errors import UserError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

log = logging.getLogger(__name__)
PARTS = ("merged", "adapter")
REPORT = ("report.html", "results.json")
_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_WEIGHTS = re.compile(r".*\.safetensors(\.index\.json)?")


def upload(
    run: Path, name: str, part: str = "merged", public: bool = False, report: bool = True
) -> str:
    """Write the part of a finished run to the repository `name` as one commit; its address.

    A repository that is not there is made, private unless `public`. Weights that an earlier upload
    left and this one does not replace are removed, for loaders would read them; all other files
    that are there stay. The hub is that of `HF_ENDPOINT`, the token that of `hf auth login` or
    `HF_TOKEN`.

    Raises:
        UserError: the run is not finished, the name is none, the hub refuses or is not reached, or
            the report, which shows texts of the corpus, would go to a public repository unasked.
    """
    files = dict(_files(run, part, report))
    if not _ID.fullmatch(name):
        raise UserError(f"{name!r} is no name on the hub: give OWNER/NAME")
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi()
    try:
        there = _prepare(api, name, public, report)
        stale = [path for path in there if _WEIGHTS.fullmatch(path) and path not in files]
        commit = api.create_commit(
            name,
            [
                *(CommitOperationDelete(path) for path in stale),
                *(CommitOperationAdd(path, _content(f, name)) for path, f in files.items()),
            ],
            commit_message=f"{part} of a run of dftfast" + (", with its report" if report else ""),
        )
    except UserError:
        raise
    except Exception as error:  # the hub client raises errors of several unrelated libraries
        raise UserError(_reason(error, name, api)) from error
    return str(commit.repo_url)


def _files(run: Path, part: str, report: bool) -> Iterator[tuple[str, Path]]:
    """(path in the repository, file) of what goes up."""
    folder = run / part
    if not folder.is_dir():
        why = "there is no such folder" if not run.is_dir() else f"it has no {part}/"
        alone = part == "adapter" and (run / "merged").is_dir()
        more = "; all weights were trained: push merged" if alone else ""
        raise UserError(f"{run}: {why}; give the folder of a finished run{more}")
    if not (folder / "README.md").is_file() or not (run / "results.json").is_file():
        raise UserError(
            f"{run}: the run is not finished, for {part}/ has no model card yet; the same "
            "`dftfast train` goes on with it"
        )
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and not any(name.startswith(".") for name in inside.parts):
            yield inside.as_posix(), path
    if report:
        yield from ((name, run / name) for name in REPORT if (run / name).is_file())


def _prepare(api: HfApi, name: str, public: bool, report: bool) -> list[str]:
    """Make the repository where it is not there; the paths in it."""
    api.create_repo(name, private=not public, exist_ok=True)
    there = api.model_info(name)
    if report and not public and not there.private:
        raise UserError(
            f"{name}: the repository is public, and report.html shows texts of the corpus; say "
            "--public if that is meant, or leave it out with --no-report"
        )
    return [file.rfilename for file in there.siblings or []]


def _content(file: Path, name: str) -> Path | bytes:
    """The file; of a card its text, with the repository in the place of the folder."""
    if file.name != "README.md":
        return file
    return re.sub(r"\bFOLDER\b", name, file.read_text(encoding="utf-8")).encode()


def _reason(error: Exception, name: str, api: HfApi) -> str:
    """One line that says why the hub did not take it and what to do."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 401 or "token" in type(error).__name__.lower():
        return f"{name}: {api.endpoint} knows no user here; log in with `hf auth login`"
    if status == 403:
        return f"{name}: the token may not write there; it needs write access to {name}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = lines[0] if lines else type(error).__name__
    return (
        f"{name}: {api.endpoint} did not take it ({said}). Check the name and the connection and "
        "try again; what has gone up is not sent twice"
    )
