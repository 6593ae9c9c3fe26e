"""`dftfast env`: versions, processor, memory and cards, for reports of faults."""

from __future__ import annotations

from collections.abc import Sequence

from dftfast.runtime.command import ArgumentParser, run
from dftfast.runtime.version import __version__


def main(arguments: Sequence[str]) -> None:
    parser = ArgumentParser(prog="dftfast env", description="Print what figures depend on here.")
    parser.parse_args(arguments)
    print(env_text())


def env_text() -> str:
    """One line a fact; no names of people, machines or folders are in it."""
    import torch

    from dftfast.kernels.compiled import cpu_kernels
    from dftfast.pipeline.environment import environment
    from dftfast.rollout.free_memory import free_memory

    found = environment()
    packages = {name: version or "not installed" for name, version in found["packages"].items()}
    rows = {
        "dftfast": __version__,
        "python": found["python"],
        "platform": found["platform"],
        "processor": f"{found['processor']}, {found['threads']} threads",
        "fast bfloat16": "yes" if cpu_kernels.fast_bf16() else "no",
        "free memory": f"{free_memory(torch.device('cpu')) / 2**30:.1f} GiB",
        "cards": ", ".join(found["gpus"]) or "none",
        "cuda": torch.version.cuda or "none",
        **{name: version for name, version in packages.items() if name != "dftfast"},
    }
    return "\n".join(f"{name:<22}{value}" for name, value in rows.items())


if __name__ == "__main__":
    run(main)
