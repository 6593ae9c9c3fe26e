"""`python -m dftfast.train`: the main job from corpus to report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dftfast.runtime.callable_module import make_callable
from dftfast.runtime.command import run

if TYPE_CHECKING:
    from dftfast.config import Config

ABOUT = (
    "Fine-tune a model on human texts, train its outputs towards their distribution, and report "
    "how far it got."
)
make_callable(__name__)  # dftfast.train(config)


def train(config: Config) -> Path:
    """Run the main job, or what is left of it, as the command does; the folder of the run."""
    from dftfast.optimise.distributed import process_group
    from dftfast.pipeline import run_pipeline

    with process_group(config.run.rank_timeout):
        return run_pipeline(config)


def main(arguments: Sequence[str]) -> None:
    from dftfast.config import parse_command_line

    dry = "--dry-run" in arguments
    rest = [argument for argument in arguments if argument != "--dry-run"]
    config = parse_command_line(rest, about=ABOUT)
    if dry:
        from dftfast.pipeline import plan_pipeline

        print(plan_pipeline(config))
    else:
        train(config)


if __name__ == "__main__":
    run(main)
