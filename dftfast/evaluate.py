"""`python -m dftfast.evaluate`: how far sets of generations are from human texts."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dftfast.endpoint import add_endpoint_options, limits_of
from dftfast.runtime.callable_module import make_callable
from dftfast.runtime.command import ArgumentParser, run
from dftfast.runtime.errors import UserError

if TYPE_CHECKING:
    from dftfast.evaluation import Estimate

log = logging.getLogger(__name__)
make_callable(__name__)  # dftfast.evaluate(outputs, human)


def evaluate(outputs: Sequence[str], human: Sequence[str], **options: Any) -> dict[str, Estimate]:
    """How far texts are from human ones; options as in `dftfast.evaluation.plain_texts`."""
    from dftfast.evaluation.plain_texts import evaluate_texts

    return evaluate_texts(outputs, human, **options)


def main(arguments: Sequence[str]) -> None:
    from dftfast.evaluation.text_files import named_file

    options = _parser().parse_intermixed_args(arguments)
    files = [named_file(given) for given in options.outputs]
    names = [name for name, _ in files]
    repeated = next((n for n in names if names.count(n) > 1 or n == "human"), None)
    if repeated:
        raise UserError(
            f"command line: {repeated!r} cannot name a system; give each file a name of its own, "
            "NAME=FILE, not `human`"
        )
    if options.candidate and options.candidate not in names:
        raise UserError(
            f"--candidate: no file named {options.candidate!r}; there are {', '.join(names)}"
        )
    if options.rounds < 20:
        raise UserError(f"--rounds: {options.rounds}; an interval needs at least 20")
    if options.bandwidth is not None and not options.bandwidth > 0:
        raise UserError(f"--bandwidth: {options.bandwidth:g}; must be above 0")
    if options.limit is not None and options.limit < 4:
        raise UserError(f"--limit: {options.limit}; at least 4 texts are needed")
    if options.out and Path(options.out).exists() and not Path(options.out).is_dir():
        raise UserError(f"--out: {options.out} is a file, not a folder")
    limits_of(options)
    from dftfast.data.generations import read_draws, read_generations
    from dftfast.evaluation.command_run import evaluate_files
    from dftfast.evaluation.target_run import evaluate_target
    from dftfast.evaluation.text_files import reader

    read = reader(options.text_field, options.id_field)
    rows = {name: read_draws(path, read) for name, path in files}
    passed = (
        evaluate_target(rows, options)
        if options.target
        else evaluate_files(rows, read_generations(options.reference, read), options)
    )
    if not passed:
        sys.exit(1)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="python -m dftfast.evaluate",
        description="Measure how far generations are from human texts: MMD, token L2, and the "
        "other figures of docs/metrics.md, with intervals.",
    )
    _add_texts(parser)
    _add_measures(parser)
    _add_assessors(parser)
    parser.add_argument(
        "--mauve",
        action="append_const",
        dest="also",
        const="mauve",
        default=[],
        help="also MAUVE (extra `dftfast[mauve]`)",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="folder for results.json and the report (HTML, Markdown, JSON); embeddings are kept "
        "in it for the next time; none prints the table only",
    )
    parser.add_argument(
        "--check",
        metavar="CHECKS.yaml",
        help="thresholds for a build (docs/evaluate-in-ci.md): status 1 where one is broken, "
        "junit.xml in --out, annotations and a summary on GitHub",
    )
    return parser


def _add_texts(parser: ArgumentParser) -> None:
    """Which texts are compared with which."""
    add = parser.add_argument
    add(
        "outputs",
        nargs="+",
        metavar="[NAME=]OUTPUTS",
        help="texts of a system, named after the file: JSON lines with `text` (or chat or "
        "completion rows), .csv, .tsv or .parquet; with `id`s they are compared prompt by prompt, "
        "and with several texts for each id the figures are means over them",
    )
    reference = parser.add_mutually_exclusive_group(required=True)
    reference.add_argument(
        "--reference",
        metavar="REFERENCE",
        help="human texts in such a file; where they share ids with the outputs, the prompts that "
        "all files answer are compared",
    )
    reference.add_argument(
        "--target",
        metavar="FILE[:WEIGHT],...",
        help="a target file in their place (`dftfast target`), or several and how much of each",
    )
    add("--text-field", metavar="NAME", help="the field or column that holds the text")
    add("--id-field", metavar="NAME", default="id", help="that of the id (default %(default)s)")
    add("--candidate", metavar="NAME", help="the system to compare with the best of all others")


def _add_measures(parser: ArgumentParser) -> None:
    """What the metrics that need no judge are computed with."""
    add = parser.add_argument
    add("--embedder", help="sentence-transformers model; none is all-MiniLM-L6-v2")
    add(
        "--unseen-embedder",
        metavar="EMBEDDER",
        help="a second embedder, for MMD in a space no training signal used: a sentence-"
        "transformers model, `wordllama` (word vectors, 16 MB from PyPI) or `character-ngrams`; "
        "none is that of the target, else wordllama",
    )
    add(
        "--plain-glyphs",
        action="store_true",
        help="embed texts with the quotation marks, dashes and spaces of a keyboard, so that "
        "typography is no part of what they are about",
    )
    add(
        "--tokenizer",
        metavar="MODEL",
        help="model folder or hub id whose tokens are counted; none counts `token_ids` "
        "where every file has them, else words and punctuation marks",
    )
    add(
        "--bandwidth",
        type=float,
        help="of the Gaussian kernel; none is the median distance between human texts",
    )
    add(
        "--rounds",
        type=int,
        default=1000,
        help="of the bootstrap and of permutation tests (default %(default)s)",
    )
    add("--seed", type=int, default=0, help="of all resampling (default %(default)s)")
    add("--limit", type=int, help="use only the first so many texts; none is 5,000 at random")
    add(
        "--corpus",
        metavar="TRAIN.jsonl",
        action="append",
        help="texts the model was trained on, to find what outputs copy from them; may be given "
        "more than once",
    )


def _add_assessors(parser: ArgumentParser) -> None:
    """Who is asked about the texts."""
    add = parser.add_argument
    add(
        "--judge",
        metavar="JUDGE",
        action="append",
        default=[],
        help="a model that compares each output with the human text of its prompt: "
        "NAME=URL,MODEL[,IN,OUT] behind an OpenAI-compatible API (extra dftfast[judge]; its key is "
        "read from NAME_API_KEY; IN and OUT are US dollars for a million tokens), or NAME=FOLDER "
        "or hub id of a model to run here; may be given more than once",
    )
    add(
        "--train-judge",
        action="append_const",
        dest="also",
        const="trained_judge",
        default=[],
        help="train a judge on the pairs of other prompts: how often it knows the output from the "
        "human text",
    )
    add(
        "--both-orders",
        action="store_true",
        help="show each pair to a judge in both orders: twice the requests, less noise",
    )
    add(
        "--dimensions",
        action="store_true",
        help="also ask about clarity, coherence, creativity, depth and prompt relevance",
    )
    add(
        "--detector",
        metavar="DETECTOR",
        action="append",
        default=[],
        help="an AI detector: NAME=FILE.yaml describes an HTTP API, NAME=MODEL[,MODEL] is "
        "probability curvature under models to run here; may be given more than once",
    )
    add_endpoint_options(parser)


if __name__ == "__main__":
    run(main)
