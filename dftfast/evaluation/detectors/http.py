"""A detector behind any HTTP API, described in a file."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import httpx2
import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dftfast.endpoint import Answer, AnswerCache, Budget, Calls, Endpoint, Limits
from dftfast.endpoint.cache import digest
from dftfast.endpoint.chat import Refused, Transient, seconds
from dftfast.endpoint.guard import TooLarge, bound
from dftfast.runtime.errors import UserError

_VARIABLE = re.compile(r"\$\{(\w+)\}")


class Description(BaseModel):
    """How to ask and where in the answer the probability stands."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(pattern=r"^https?://")
    headers: dict[str, str] = Field(
        {}, description="${NAME} is replaced by the environment variable"
    )
    body: dict | list = Field(description="JSON to send; {text} is replaced by the text")
    probability: str = Field(
        description="dotted path to the number in the answer: documents.0.score"
    )
    of: Literal["human", "ai"] = Field(description="what it is the probability of")
    scale: float = Field(
        1.0, gt=0, description="the number that means certain, such as 100 for percent"
    )
    price: float = Field(0.0, ge=0, description="US dollars for a text, counted by --max-cost")


class HTTPDetector:
    """POSTs each text as JSON and reads a number out of the answer.

    Answers are kept in `cache`.
    """

    def __init__(
        self,
        name: str,
        file: str | Path,
        cache: AnswerCache,
        limits: Limits = Limits(),
        budget: Budget | None = None,
    ):
        self.name, self._limits, self._description = name, limits, _read(Path(file))
        self._headers = {
            k: _with_environment(v, file) for k, v in self._description.headers.items()
        }
        # a text is a token of input, of which a million have a price
        prices = (1e6 * self._description.price, 0.0)
        self.endpoint = Endpoint(name, self._description.url, "", prices)
        self.about = self.endpoint.host
        self._calls = Calls(self, cache, limits, budget or Budget())

    def human_probability(
        self, texts: Sequence[str], progress: Callable[[int], object] = lambda n: None
    ) -> np.ndarray:
        asked = self._description.model_dump(include={"url", "body", "probability", "of", "scale"})
        answers = self._calls.run(
            [_Request(digest("detector", asked, text), text) for text in texts], progress
        )
        return np.array([np.nan if answer is None else float(answer.text) for answer in answers])

    async def __aenter__(self) -> HTTPDetector:
        # the key in the headers is for one host: redirects are not followed
        self._client = httpx2.AsyncClient(
            timeout=self._limits.timeout,
            follow_redirects=False,
            event_hooks={"response": [bound]},
            headers={"Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(self, *failure) -> None:
        await self._client.aclose()

    async def __call__(self, request: _Request) -> Answer:
        body = json.dumps(_filled(self._description.body, request.text)).encode()
        headers = {"Content-Type": "application/json", **self._headers}
        try:
            answer = await self._client.post(self._description.url, content=body, headers=headers)
        except httpx2.TimeoutException as error:
            raise Transient("timed out", charged=True) from error
        except (httpx2.HTTPError, httpx2.StreamError, TooLarge, OSError) as error:
            raise Transient(f"{type(error).__name__}: {error}") from error
        if answer.status_code != 200:
            raise self._meaning(answer.status_code, answer.headers.get("retry-after"))
        return Answer(repr(self._number(answer.content)), "stop", request.most_tokens)

    def _meaning(self, status: int, retry_after: str | None) -> Exception:
        if status in (401, 402, 403, 404, 405):
            return UserError(
                f"detector {self.name} ({self.about}): status {status}; look at its URL, and at "
                "the key in its headers"
            )
        if status in (408, 425, 429) or status >= 500:
            return Transient(f"status {status}", seconds(retry_after))
        return Refused(f"status {status}")

    def _number(self, raw: bytes) -> float:
        """The probability of human in an answer."""
        try:
            value = json.loads(raw)
            for step in self._description.probability.split("."):
                value = value[int(step)] if isinstance(value, list) else value[step]
            p = float(value) / self._description.scale
        except (
            *(ValueError, KeyError, IndexError, TypeError),
            *(RecursionError, OverflowError),
        ) as error:
            raise Transient(
                f"no number at {self._description.probability} of the answer "
                f"({type(error).__name__})"
            ) from None
        if not 0 <= p <= 1:
            raise Refused(
                f"{value!r} at {self._description.probability} is not a probability; scale is "
                f"{self._description.scale:g}"
            )
        return p if self._description.of == "human" else 1 - p


class _Request:
    most_tokens = (1, 0)

    def __init__(self, key: str, text: str):
        self.key, self.text = key, text


def _read(file: Path) -> Description:
    try:
        return Description.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{file}: cannot be read: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"{file}: {'.'.join(map(str, first['loc'])) or 'file'}: {first['msg']}"
        ) from None


def _with_environment(value: str, file: str | Path) -> str:
    def variable(match: re.Match) -> str:
        if not os.environ.get(match[1]):
            raise UserError(f"{file}: headers: the environment has no {match[1]}")
        return os.environ[match[1]].strip()

    filled = _VARIABLE.sub(variable, value)
    if not (filled.isascii() and filled.isprintable()):
        raise UserError(f"{file}: headers: a value has characters that no header can have")
    return filled


def _filled(body, text: str):
    if isinstance(body, dict):
        return {key: _filled(value, text) for key, value in body.items()}
    if isinstance(body, list):
        return [_filled(value, text) for value in body]
    return body.replace("{text}", text) if isinstance(body, str) else body
