"""One chat completion through the `openai` client, and what each way of failing means."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from dftfast.endpoint.guard import TooLarge, bound
from dftfast.endpoint.spec import Endpoint
from dftfast.runtime.errors import UserError

_TRANSIENT = (408, 409, 425, 429)
# of servers that leave it in the text
# or whose template opened the thought in the prompt, so that only its end is there
_THOUGHT = re.compile(
    r"\A\s*(?:<think>.*?(?:</think>|\Z)|(?:(?!<think>).)*?</think>)\s*", re.DOTALL
)
_MOST_TOKENS = 10**9  # that a server can mean
_ROOM = 64  # tokens that a chat template may add to a message


class Transient(Exception):
    """May go better another time.

    Attributes:
        retry_after: seconds the server asks to wait.
        charged: it may have been paid for.
    """

    def __init__(self, message: str, retry_after: float | None = None, charged: bool = False):
        super().__init__(message)
        self.retry_after, self.charged = retry_after, charged


class Refused(Exception):
    """This request will never be answered; others may."""


@dataclass(frozen=True)
class ChatRequest:
    """A chat of which the next message is asked for.

    Attributes:
        key: names the request; its answer is kept under it.
        parameters: temperature, top_p, seed, ... as the API calls them.
    """

    key: str
    messages: list[dict]
    max_tokens: int
    parameters: dict = field(default_factory=dict)

    @property
    def most_tokens(self) -> tuple[int, int]:
        """The most tokens that it can use: no tokenizer makes more tokens than bytes."""
        size = sum(
            len(m["content"].encode("utf-8", "surrogatepass")) + _ROOM for m in self.messages
        )
        return size, self.max_tokens


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        text: without what the model thought first.
        finish_reason: "stop", "length", or another reason of the server's.
        tokens: of the prompt and of the answer; None where the server does not say.
    """

    text: str
    finish_reason: str
    tokens: tuple[int, int] | None


class ChatClient:
    """Asks an endpoint; an asynchronous context manager that holds the connections.

    Args:
        timeout: seconds for a whole request.
        droppable: parameters to leave out where the endpoint does not take them.

    `client(request)` raises `Transient`, `Refused`, or UserError for what fails every request.
    """

    def __init__(self, endpoint: Endpoint, timeout: float = 120.0, droppable: tuple[str, ...] = ()):
        try:
            import openai
        except ImportError:
            raise UserError(
                "endpoints need the openai package: pip install 'dftfast[judge]'"
            ) from None
        self._openai, self.endpoint, self.timeout = openai, endpoint, timeout
        self._droppable, self._limit = set(droppable), "max_tokens"
        self.dropped: set[str] = set()
        self._answered = False

    async def __aenter__(self) -> ChatClient:
        # the client takes these from the environment, for OpenAI's own servers: no other is told
        other = {name: self._openai.Omit() for name in ("OpenAI-Organization", "OpenAI-Project")}
        self._client = self._openai.AsyncOpenAI(
            base_url=self.endpoint.url,
            api_key=self.endpoint.key() or "none",
            timeout=self.timeout,
            max_retries=0,
            default_headers=other | {"Accept-Encoding": "identity"},
            # the prompt is for this host: a redirect would take it to another
            http_client=self._openai.DefaultAsyncHttpxClient(
                follow_redirects=False, event_hooks={"response": [bound]}
            ),
        )
        return self

    async def __aexit__(self, *failure) -> None:
        await self._client.close()

    async def __call__(self, request: ChatRequest) -> Answer:
        reply = await self._sent(request)
        if isinstance(reply, str):
            if self._answered:  # a server that has answered is busy
                raise Transient("a page, not JSON")
            raise UserError(
                f"{self._where}: answers with a page, not with JSON; is the URL the base of the "
                "API, such as .../v1?"
            )
        answer = _answer(reply)
        self._answered = True
        return answer

    async def stream(self, request: ChatRequest) -> AsyncGenerator[tuple[str, str | None], None]:
        """Pieces of the text, without a thought that it begins with, as the server writes them.

        The last has the finish reason. Raises as a call does, and `Transient` where nothing comes.
        """
        reply = await self._sent(request, stream=True)
        held, reason, begun = "", None, False
        try:
            async for chunk in reply:
                choice = next(iter(getattr(chunk, "choices", None) or []), None)
                if choice is None:
                    continue
                piece, reason = _text(choice.delta.content), choice.finish_reason or reason
                held += piece if isinstance(piece, str) else ""
                if not begun and _may_be_thought(held):
                    continue
                text = held if begun else _THOUGHT.sub("", held)
                if begun := begun or bool(text.strip()):
                    held = ""
                    yield text, None
        except (self._openai.APIError, ValueError, AttributeError, TooLarge) as error:
            raise Transient(self.clean(f"{type(error).__name__}: {error}"), charged=True) from error
        finally:
            await reply.close()
        if reason is None and not begun:
            raise Transient("the server streamed no chat completion")
        yield _THOUGHT.sub("", held), reason or "stop"

    async def _sent(self, request: ChatRequest, **more: object):
        """What the client makes of the reply to a request, in the form that the endpoint takes."""
        parameters = {k: v for k, v in request.parameters.items() if k not in self.dropped}
        parameters[limit := self._limit] = request.max_tokens
        openai = self._openai
        try:
            return await self._client.chat.completions.create(
                model=self.endpoint.model, messages=request.messages, **parameters, **more
            )
        except openai.APITimeoutError as error:
            raise Transient("timed out", charged=True) from error
        except openai.APIStatusError as error:
            if self._adapts(error, limit, parameters):
                return await self._sent(request, **more)
            raise self._meaning(error) from error
        # connection lost, not JSON, nested too deeply
        except (openai.APIError, ValueError, RecursionError, TooLarge) as error:
            raise Transient(self.clean(f"{type(error).__name__}: {error}")) from error

    @property
    def _where(self) -> str:
        return f"{self.endpoint.name} ({self.endpoint.host})"

    def _adapts(self, error, limit: str, parameters: dict) -> bool:
        """Whether the endpoint takes another form of the request, which is remembered."""
        if error.status_code not in (400, 422):
            return False
        said = _said(error)
        if limit == "max_tokens" and "max_completion_tokens" in said:
            self._limit = "max_completion_tokens"
            return True
        unwanted = {name for name in self._droppable & parameters.keys() if name in said}
        self.dropped |= unwanted
        return bool(unwanted)

    def _meaning(self, error) -> Exception:
        status, message = error.status_code, self.clean(_said(error))
        where = self._where
        if 300 <= status < 400:
            to = self.clean(error.response.headers.get("location", "nowhere"))
            return UserError(
                f"{where}: redirects to {to}; it is not followed, give the URL that answers"
            )
        if status in (401, 403):
            return UserError(
                f"{where}: not allowed: {message}. The key is read from "
                f"{self.endpoint.key_variable}"
            )
        if status in (404, 405):
            return UserError(f"{where}: nothing there for model {self.endpoint.model!r}: {message}")
        if status == 402 or getattr(error, "code", None) == "insufficient_quota":
            return UserError(f"{where}: no credit: {message}")
        if status in _TRANSIENT or status >= 500:
            return Transient(message, seconds(error.response.headers.get("retry-after")))
        return Refused(message)

    def clean(self, message: str) -> str:
        """A message of the server, short and without the key."""
        key = self.endpoint.key()
        return " ".join((message.replace(key, "[key]") if key else message).split())[:300]


def _answer(reply) -> Answer:
    try:
        choice = reply.choices[0]
        text, reason = _text(choice.message.content), choice.finish_reason or "stop"
        tokens = _tokens(reply.usage)
        if not isinstance(text, str) or not isinstance(reason, str):
            raise TypeError(type(text).__name__)
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise Transient(f"not a chat completion: {error!r}", charged=True) from error
    text = text.encode("utf-8", "replace").decode()  # half of a character, where the limit cut it
    return Answer(_THOUGHT.sub("", text), reason, tokens)


def _may_be_thought(text: str) -> bool:
    """Whether a text that has begun so may yet turn out to begin with a thought."""
    start = text.lstrip()
    return "<think>".startswith(start) or (start.startswith("<think>") and "</think>" not in text)


def _text(content: object) -> object:
    """The text of a message's content, which may come in parts: of these what is no thought."""
    if not isinstance(content, list):
        return content or ""
    texts = [part.get("text") for part in content if isinstance(part, dict)]
    return "".join(text for text in texts if isinstance(text, str))


def _tokens(usage: object) -> tuple[int, int] | None:
    """Tokens of the prompt and of the answer; None where the server does not say, or nonsense."""
    counts = [getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens")]
    known = [c for c in counts if isinstance(c, (int, float)) and 0 <= c <= _MOST_TOKENS]
    return (int(known[0]), int(known[1])) if len(known) == 2 else None


def _said(error) -> str:
    """The server's words, whatever form it gave them."""
    return str(error) if str(error.body or "") in str(error) else f"{error} {error.body}"


def seconds(header: str | None) -> float | None:
    """What a Retry-After header asks for; None where it is a date or nothing."""
    try:
        wait = float(header or "")
    except ValueError:
        return None
    return wait if 0 <= wait < math.inf else None
