"""Many requests: some at a time, not too fast, again after a failure, never beyond a cap."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from dftfast.endpoint.cache import AnswerCache
from dftfast.endpoint.chat import Answer, Refused, Transient
from dftfast.endpoint.spec import Endpoint
from dftfast.runtime.errors import UserError

log = logging.getLogger(__name__)
DEAD = 3  # requests in a row that fail for good after all attempts: the endpoint is down


@dataclass(frozen=True)
class Limits:
    """How fast and how often an endpoint is asked.

    Attributes:
        concurrency: requests at a time.
        per_minute: requests started in a minute at most; None is no limit but the server's own.
        timeout: seconds for one attempt.
        attempts: at a request.
        first_wait, longest_wait: seconds; between attempts the wait doubles from the first to the
            longest, with jitter, or is as long as the server asks.
    """

    concurrency: int = 8
    per_minute: float | None = None
    timeout: float = 120.0
    attempts: int = 8
    first_wait: float = 1.0
    longest_wait: float = 60.0


@dataclass
class Budget:
    """US dollars.

    What a request can cost at most is set aside before it is sent, so that the cap holds in any
    case.
    """

    cap: float | None = None
    spent: float = 0.0
    reserved: float = 0.0

    async def reserve(self, most: float) -> bool:
        """Set this much aside, when there is room after what is under way.

        False where the cap leaves none.
        """
        while self.cap is not None and self.spent + self.reserved + most > self.cap:
            if self.reserved <= 0:
                return False
            await asyncio.sleep(0.02)
        self.reserved += most
        return True

    def settle(self, most: float, cost: float) -> None:
        self.reserved = max(0.0, self.reserved - most)
        self.spent += cost


@dataclass
class Tally:
    """What an endpoint was asked and what it cost, in this run.

    The `kept` answers came from disk and cost nothing now.
    """

    asked: int = 0
    kept: int = 0
    retries: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0  # of all answers, those on disk at what they would cost
    spent: float = 0.0  # by this run
    capped: bool = False


class Question(Protocol):
    """What a client is asked.

    Attributes:
        key: names the request; its answer is kept under it.
        most_tokens: the most that it can use, of the prompt and of the answer.
    """

    @property
    def key(self) -> str: ...

    @property
    def most_tokens(self) -> tuple[int, int]: ...


Asked = TypeVar("Asked", bound=Question)
Understood = TypeVar("Understood", bound=Question, contravariant=True)


class Client(Protocol[Understood]):
    """Asks one endpoint; an asynchronous context manager that holds the connections.

    A call raises `Transient`, `Refused`, or UserError for what fails every request.
    """

    endpoint: Endpoint

    async def __aenter__(self) -> object: ...

    async def __aexit__(self, *failure: object) -> None: ...

    async def __call__(self, request: Understood, /) -> Answer: ...


@dataclass
class Calls(Generic[Asked]):
    """Sends requests to one endpoint.

    Answers are kept in `cache` as they come, so a run that stops goes on.
    """

    client: Client[Asked]
    cache: AnswerCache
    limits: Limits = Limits()
    budget: Budget = field(default_factory=Budget)
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self):
        if self.budget.cap is not None and self.client.endpoint.prices is None:
            raise UserError(
                f"--max-cost: {self.client.endpoint.name} has no prices; give them as "
                "NAME=URL,MODEL,IN,OUT"
            )
        self._next = self._pause = 0.0  # times of the event loop
        self._dead = 0

    def run(
        self, requests: Sequence[Asked], progress: Callable[[int], object] = lambda n: None
    ) -> list[Answer | None]:
        """The answers; None where a request was refused or failed, or the cap came before it.

        Raises:
            UserError: something fails every request; answers until then are kept.
        """
        answers: dict[str, Answer] = {}
        for request in requests:
            if (kept := self._kept(request.key)) and request.key not in answers:
                answers[request.key] = kept
                self.tally.kept += 1
                self._count(kept)
        missing = {request.key: request for request in requests if request.key not in answers}
        progress(len(requests) - len(missing))
        if missing and not self.tally.capped:
            try:
                asyncio.run(self._send(deque(missing.values()), answers, progress))
            finally:
                self.cache.close()
        return [answers.get(request.key) for request in requests]

    def _kept(self, key: str) -> Answer | None:
        try:
            row = self.cache.get(key)
            tokens = row["tokens"] and (int(row["tokens"][0]), int(row["tokens"][1]))
            return Answer(str(row["text"]), str(row["finish_reason"]), tokens)
        except (TypeError, KeyError, ValueError, IndexError):
            return None

    async def _send(self, queue: deque, answers: dict, progress: Callable[[int], object]) -> None:
        async def work() -> None:
            while queue and not self.tally.capped:
                request = queue.popleft()
                answer = await self._answer(request)
                if answer is not None:
                    answers[request.key] = answer
                if not self.tally.capped:
                    progress(1)

        self._next = self._pause = 0.0
        async with self.client:
            workers = [
                asyncio.ensure_future(work())
                for _ in range(min(self.limits.concurrency, len(queue)))
            ]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
                self.budget.reserved = 0.0

    async def _answer(self, request: Asked) -> Answer | None:
        """The request until it is answered.

        None where it is refused, fails for good, or does not fit the cap.
        """
        most = self.client.endpoint.cost(*request.most_tokens)
        for attempt in range(self.limits.attempts):
            await self._pace()
            if not await self.budget.reserve(most):
                self.tally.capped = True
                return None
            try:
                return await self._attempt(request, most)
            except Refused as error:
                log.warning("%s: a request was refused: %s", self.client.endpoint.name, error)
                self.tally.failed += 1
                return None
            except Transient as error:
                problem = error
            if attempt + 1 < self.limits.attempts:
                self.tally.retries += 1
                await self._wait(attempt, problem)
        self.tally.failed += 1
        self._dead += 1
        name, attempts = self.client.endpoint.name, self.limits.attempts
        if self._dead >= DEAD:
            raise UserError(
                f"{name} ({self.client.endpoint.host}): {self._dead} requests in a row failed "
                f"{attempts} times each; the last: {problem}. "
                "What was answered is kept: the same command goes on from there"
            )
        log.warning("%s: a request failed %d times, the last: %s", name, attempts, problem)
        return None

    async def _attempt(self, request: Asked, most: float) -> Answer:
        charged = 0.0
        try:
            self.tally.asked += 1
            answer = await asyncio.wait_for(self.client(request), self.limits.timeout)
            charged = most if answer.tokens is None else self.client.endpoint.cost(*answer.tokens)
        except asyncio.TimeoutError:
            charged = most
            raise Transient("timed out") from None
        except Transient as error:
            charged = most if error.charged else 0.0
            raise
        finally:
            self.budget.settle(most, charged)
            self.tally.spent += charged
        self._dead = 0
        self._count(answer)
        self.cache.put(
            request.key,
            {"text": answer.text, "finish_reason": answer.finish_reason, "tokens": answer.tokens},
        )
        return answer

    def _count(self, answer: Answer) -> None:
        into, out = answer.tokens or (0, 0)
        self.tally.prompt_tokens += into
        self.tally.completion_tokens += out
        self.tally.cost += self.client.endpoint.cost(into, out)

    async def _pace(self) -> None:
        """Wait for the turn that the rate leaves, and for the end of the server's pause."""
        clock = asyncio.get_running_loop().time
        while (pause := self._pause - clock()) > 0:
            await asyncio.sleep(pause)
        if self.limits.per_minute:
            turn = max(clock(), self._next)
            self._next = turn + 60 / self.limits.per_minute
            await asyncio.sleep(turn - clock())

    async def _wait(self, attempt: int, problem: Transient) -> None:
        limits = self.limits
        if problem.retry_after is not None:
            # the server is too busy for every request, not only for this one
            pause = min(problem.retry_after, limits.longest_wait)
            self._pause = max(self._pause, asyncio.get_running_loop().time() + pause)
        else:
            wait = min(limits.first_wait * 2**attempt, limits.longest_wait)
            await asyncio.sleep(wait * random.uniform(0.5, 1))
