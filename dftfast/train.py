"""`python -m dftfast.train`: the main job from corpus to report."""

from __future__ import annotations

from collections.abc import Sequence

from dftfast.command import run
from dftfast.config import parse_command_line

ABOUT = "Fine-tune a model on human texts, train its outputs towards their distribution, and report how far it got."


def main(arguments: Sequence[str]) -> None:
    config = parse_command_line(arguments, about=ABOUT)
    from dftfast.pipeline import run_pipeline
    from dftfast.training.distributed import processes

    with processes(config.run.rank_timeout):
        run_pipeline(config)


if __name__ == "__main__":
    run(main)
