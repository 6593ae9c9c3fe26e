"""What asking a model will take, said before it is asked, and whether the user agrees."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from itertools import islice

from dftfast.prepare.askers import EndpointAsker, LocalAsker
from dftfast.prepare.asking import key_of
from dftfast.prepare.model_steps import ModelSteps
from dftfast.prepare.piece import Piece
from dftfast.runtime.errors import UserError

_CHARACTERS = 4  # of a token of English, about; other scripts have fewer
_ANSWER = 60  # tokens of an answer, about
_TRIED = 4  # documents that a local model is timed on


def agree_by(yes: bool) -> Callable[[ModelSteps, Callable[[], Iterable[Piece]]], None]:
    """A function that prints what it will take and asks, unless `yes`.

    It raises UserError where the user does not agree, or cannot be asked.
    """

    def agree(steps: ModelSteps, chosen: Callable[[], Iterable[Piece]]) -> None:
        sys.stderr.write(what_it_takes(steps, chosen) + "\n")
        if yes:
            return
        if not sys.stdin.isatty():
            raise UserError("nobody is there to agree to that; --yes starts without asking")
        if input("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
            raise UserError("stopped: nothing was asked")

    return agree


def what_it_takes(steps: ModelSteps, chosen: Callable[[], Iterable[Piece]]) -> str:
    """Documents, tokens, and dollars or minutes, of what no answer is kept for."""
    documents = asked = characters = kept = 0
    for piece in chosen():
        documents += 1
        for question in steps.questions(piece):
            if steps.asker.holds(key_of(steps.asker, question)):
                kept += 1
                continue
            asked += 1
            characters += sum(len(message["content"]) for message in question.messages)
    into, out = characters // _CHARACTERS, asked * _ANSWER
    said = (
        f"{documents} documents: {asked} questions, about {into:,} tokens in and {out:,} out"
        f"{f'; {kept} answers from before' if kept else ''}; "
    )
    if isinstance(steps.asker, EndpointAsker):
        endpoint = steps.asker.calls.client.endpoint
        cost = f"${endpoint.cost(into, out):.2f}" if endpoint.prices else "a cost that is not known"
        return f"{said}about {cost} at {endpoint.name} ({endpoint.host}), model {endpoint.model}"
    if isinstance(steps.asker, LocalAsker) and asked:
        return f"{said}about {_minutes(steps, chosen, asked):.1f} minutes on this machine"
    return f"{said}on this machine"


def _minutes(steps: ModelSteps, chosen: Callable[[], Iterable[Piece]], asked: int) -> float:
    """By the first questions, whose answers are kept; the model is loaded before the clock runs."""
    tried = [question for piece in islice(chosen(), _TRIED) for question in steps.questions(piece)]
    keys = [key_of(steps.asker, question) for question in tried]
    steps.asker(keys[:1], tried[:1])
    began = time.perf_counter()
    steps.asker(keys[1:], tried[1:])
    return (time.perf_counter() - began) / max(1, len(tried) - 1) * asked / 60
