"""A judge from what the user says of it: an address and a model, or a model to run here."""

from __future__ import annotations

from dftfast.endpoint import AnswerCache, Budget, Endpoint, Limits
from dftfast.endpoint.cache import digest
from dftfast.endpoint.spec import is_url
from dftfast.evaluation.judge.local import LocalJudge
from dftfast.evaluation.judge.remote import RemoteJudge
from dftfast.model.pretrained import resolve_model
from dftfast.runtime.errors import UserError
from dftfast.runtime.files import cache_folder


def make_judge(
    option: str,
    name: str,
    model: str,
    limits: Limits,
    budget: Budget,
    device: str | None = None,
) -> RemoteJudge | LocalJudge:
    """The judge that an option names: URL,MODEL[,IN,OUT], or a folder or hub id.

    A model that runs here does so on `device`; None is the best there is.

    Raises:
        UserError: it has another form, or there is no such model.
    """
    if is_url(model):
        endpoint = Endpoint.parse(option, f"{name}={model}")
        return RemoteJudge(endpoint, kept_answers(endpoint.url, endpoint.model), limits, budget)
    return LocalJudge(name, model, kept_answers("judge", model), device)


def check_judge(option: str, name: str, model: str, max_cost: float | None) -> None:
    """Raise UserError where `make_judge` would, and fetch a model that runs here."""
    if not is_url(model):
        resolve_model(model)
        return
    make_judge(option, name, model, Limits(), Budget())
    if max_cost is not None and Endpoint.parse(option, f"{name}={model}").prices is None:
        raise UserError(
            f"{option}: a cap on the cost needs prices; give them as URL,MODEL,IN,OUT, in US "
            "dollars for a million tokens"
        )


def kept_answers(*parts: str) -> AnswerCache:
    """The answers of before from one source."""
    return AnswerCache(cache_folder() / "answers" / f"{digest(*parts)}.jsonl")
