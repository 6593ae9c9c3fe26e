"""The options of `python -m dftfast.generate`, and those that do not go together."""

from __future__ import annotations

from argparse import Namespace

from dftfast.endpoint import add_endpoint_options
from dftfast.runtime.command import ArgumentParser
from dftfast.runtime.errors import UserError

MAX_TOKENS = 512  # of a text, unless asked otherwise


def check_choices(options: Namespace) -> None:
    """Refuse options that do not go together."""
    if (options.prompt is None) == (options.prompts is None):
        raise UserError("command line: give --prompts FILE, or --prompt TEXT for a single one")
    if options.out is None and (options.prompt is None or options.endpoint or options.n > 1):
        raise UserError(
            "command line: give --out FILE; only one text for --prompt by a model on this machine "
            "goes to the screen"
        )
    if not 0 <= options.seed < 2**63:
        raise UserError(f"command line: --seed: {options.seed} is not between 0 and 2**63 - 1")
    sizes = ("sequences", "step_tokens", "cache_tokens")
    for name in sizes:
        if (value := getattr(options, name)) is not None and value < 1:
            raise UserError(f"command line: --{name.replace('_', '-')} must be at least 1")


def make_parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="python -m dftfast.generate", description="Write a text for every prompt."
    )
    add = parser.add_argument
    add("--model", help="model folder or hub id; none is SmolLM2-135M-Instruct")
    add(
        "--adapter",
        action="append",
        default=[],
        help="PEFT folder of a LoRA; several are applied in order",
    )
    add(
        "--endpoint",
        metavar="NAME=URL,MODEL[,IN,OUT]",
        help="ask a model behind an OpenAI-compatible API instead (extra "
        "dftfast[judge]); its key is read from NAME_API_KEY; IN and OUT are US dollars "
        "for a million tokens",
    )
    add(
        "--prompts",
        help="corpus or prompts in any form of docs/corpus.md, or .txt with a prompt a line",
    )
    add("--skip-bad-lines", action="store_true", help="leave bad lines out, each named")
    add("--prompt", help="a single prompt; without --out its text is written to the screen")
    add(
        "--out", help="file of generations to write (.jsonl); repeated, the command goes on with it"
    )
    add("--overwrite", action="store_true", help="replace a file that is there")
    add_sampler_options(parser)
    add("--n", type=int, default=1, help="texts for each prompt (default %(default)s)")
    add(
        "--select",
        metavar="CORPUS",
        help="of the --n texts for each prompt keep one, so that those kept are together "
        "distributed like the human texts of this corpus",
    )
    add(
        "--embedder",
        help="sentence-transformers folder or hub id for --select; none is all-MiniLM-L6-v2",
    )
    add("--seed", type=int, default=0, help="seed of the sampler (default %(default)s)")
    add("--limit", type=int, help="use only this many of the prompts")
    add("--device", help="cpu, cuda or cuda:N; none is the GPU where there is one")
    add(
        "--dtype",
        choices=["bfloat16", "float32"],
        help="type of the weights; none is bfloat16 where that is faster, else float32",
    )
    add("--sequences", type=int, help="texts written at once; none is 128, 512 on a GPU")
    add("--step-tokens", type=int, help="tokens of a step; none is 1,024, 8,192 on a GPU")
    add("--cache-tokens", type=int, help="size of the cache; none is half of the free memory")
    add_endpoint_options(parser)
    return parser


def add_sampler_options(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--temperature", type=float, default=1.0, help="0 is greedy (default %(default)s)")
    add("--top-p", type=float, default=1.0, help="nucleus share; 1 is off (default %(default)s)")
    add(
        "--top-k",
        type=int,
        default=0,
        help="most likely tokens kept; 0 is off (default %(default)s)",
    )
    add(
        "--min-p",
        type=float,
        default=0.0,
        help="least share of the likeliest token's probability; 0 is off (default %(default)s)",
    )
    add(
        "--max-tokens",
        type=int,
        default=MAX_TOKENS,
        help="longest text in tokens (default %(default)s)",
    )


def check_endpoint(options: Namespace) -> None:
    """Refuse what an endpoint cannot do."""
    own = {
        "--model": options.model,
        "--adapter": options.adapter,
        "--device": options.device,
        "--top-k": options.top_k,
        "--min-p": options.min_p,
    }
    for name, value in own.items():
        if value:
            raise UserError(
                f"command line: {name} is for models on this machine; leave it out with --endpoint"
            )
