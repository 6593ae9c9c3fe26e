"""`python -m dftfast.train`: the main job from corpus to report."""

from __future__ import annotations

from collections.abc import Sequence

from dftfast.config import parse_command_line
from dftfast.runtime.command import run

ABOUT = "Fine-tune a model on human texts, train its outputs towards their distribution, and report how far it got."


def main(arguments: Sequence[str]) -> None:
    config = parse_command_line(arguments, about=ABOUT)
    from dftfast.optimise.distributed import process_group
    from dftfast.pipeline import run_pipeline

    with process_group(config.run.rank_timeout):
        run_pipeline(config)


if __name__ == "__main__":
    run(main)
