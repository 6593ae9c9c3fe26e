"""Options of the command that let a model clean and write briefs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dftfast.endpoint import Endpoint, add_endpoint_options, limits_of
from dftfast.prepare.settings import Settings
from dftfast.runtime.errors import UserError

if TYPE_CHECKING:
    from dftfast.prepare.model_steps import ModelSteps


def add_model_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--endpoint",
        metavar="NAME=URL,MODEL[,IN,OUT]",
        help="model behind an OpenAI-compatible API (extra dftfast[judge]); its key is read from "
        "NAME_API_KEY; IN and OUT are US dollars for a million tokens",
    )
    add("--model", help="model folder or hub id to ask on this machine instead")
    add("--device", help="cpu, cuda or cuda:N for --model; none is the GPU where there is one")
    add("--clean", choices=["rules", "model"], help="who cleans; the model where one is given")
    add("--briefs", choices=["extractive", "model"], help="who writes briefs; likewise")
    add("--prompts", type=Path, help="file of prompts for the model, in the form of prompts.yaml")
    add("--yes", action="store_true", help="ask the model without asking you first")
    add_endpoint_options(parser)


def model_steps(options: argparse.Namespace, settings: Settings, out: Path) -> ModelSteps | None:
    """What the options let a model do; None where it is nothing.

    Raises:
        UserError: options that do not go together.
    """
    given = options.endpoint or options.model
    for option, value in (("--clean", options.clean), ("--briefs", options.briefs)):
        if value == "model" and not given:
            raise UserError(f"{option} model: give the model, by --endpoint or --model")
    if options.endpoint and options.model:
        raise UserError("command line: give --endpoint or --model, not both")
    cleans, writes = (by in (None, "model") for by in (options.clean, options.briefs))
    if not given or not (cleans or writes):
        return None
    from dftfast.prepare.asking import Prompts
    from dftfast.prepare.consent import agree_by
    from dftfast.prepare.model_steps import ModelSteps

    prompts = Prompts.load(options.prompts)
    asker = _asker(options, out.with_name(f"{out.name}.answers"))
    return ModelSteps(asker, prompts, settings, cleans, writes, agree_by(options.yes))


def _asker(options: argparse.Namespace, answers: Path):
    from dftfast.prepare.askers import EndpointAsker, LocalAsker

    limits, budget = limits_of(options)
    if options.endpoint:
        endpoint = Endpoint.parse("--endpoint", options.endpoint)
        return EndpointAsker(endpoint, answers, limits, budget)
    return LocalAsker(options.model, answers, options.device)
