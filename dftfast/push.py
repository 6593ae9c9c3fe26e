"""`python -m dftfast.push`: the result of a run to the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dftfast.runtime.command import ArgumentParser, run


def main(arguments: Sequence[str]) -> None:
    options = make_parser().parse_args(arguments)
    from dftfast.integrations.hub_upload import upload

    print(upload(options.run, options.name, options.part, options.public, options.report))


def make_parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="dftfast push",
        description="Upload the result of a finished run with its model card and its report.",
    )
    parser.add_argument("run", type=Path, help="the folder of the run")
    parser.add_argument("name", help="OWNER/NAME of a model repository; made where it is not there")
    parser.add_argument(
        "--part",
        choices=("merged", "adapter"),
        default="merged",
        help="the whole model, or one LoRA on its base (default: %(default)s)",
    )
    parser.add_argument(
        "--public",
        action="store_true",
        help="for everyone to see; a new repository is private otherwise",
    )
    parser.add_argument(
        "--no-report",
        dest="report",
        action="store_false",
        help="leave report.html, which shows texts of the corpus, and results.json out",
    )
    return parser


if __name__ == "__main__":
    run(main)
