"""A causal model on this machine, to judge or to detect with."""
from __future__ import annotations

import hashlib
from pathlib import Path

from dftfast.model.device import pick_device, pick_dtype
from dftfast.model.pretrained import resolve_model
from dftfast.model.tokenizer import Tokenizer
from dftfast.model.weights import load_decoder


class LocalModel:
    """Decoder and tokenizer of a model folder or hub id.

    Attributes:
        fingerprint: changes when a file of the folder does.
    """

    def __init__(self, name: str, device: str | None = None):
        folder = resolve_model(name)
        self.tokenizer = Tokenizer.from_folder(folder)
        device = pick_device(device)
        self.decoder = load_decoder(folder, pick_dtype(None, device), device)
        self.fingerprint = fingerprint(folder)


def fingerprint(folder: Path) -> str:
    """Hash of the names, sizes and times of the files of a model, and of what is small enough to read."""
    found = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in (".safetensors", ".json", ".jinja"):
            stat = file.stat()
            found.update(f"{file.name} {stat.st_size} ".encode())
            found.update(file.read_bytes() if file.suffix != ".safetensors" else str(stat.st_mtime_ns).encode())
    return found.hexdigest()
