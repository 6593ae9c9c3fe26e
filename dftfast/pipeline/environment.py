"""Versions and hardware that a figure may depend on."""

from __future__ import annotations

import platform
import re
from importlib import metadata
from pathlib import Path

MARKS = re.compile(r"\((?:R|TM)\)| CPU\b| Processor\b")


def environment() -> dict:
    """Versions and hardware that a figure may depend on."""
    import torch

    packages = (
        "torch",
        "triton",
        "numpy",
        "tokenizers",
        "sentence-transformers",
        "scikit-learn",
        "dftfast",
    )
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
        "packages": {name: _version(name) for name in packages},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def processor() -> str:
    """The processor's name without marks and "Processor"; empty where the system gives none."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return MARKS.sub("", line.split(":", 1)[1]).strip()
    except OSError:
        pass
    return platform.processor()
