"""A judge behind an OpenAI-compatible API."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dftfast.endpoint import AnswerCache, Budget, Calls, ChatClient, ChatRequest, Endpoint, Limits
from dftfast.endpoint.cache import digest
from dftfast.endpoint.calls import Tally
from dftfast.evaluation.judge.questions import Item, read_answer

MAX_TOKENS = 1024  # of an answer: one letter, but models that think first need room
ASKED = 3  # times, with a reminder from the second on, before a pair is left without a verdict


class RemoteJudge:
    """Asks for a letter at temperature 0, or whatever the endpoint insists on.

    Answers are kept in `cache`.

    Attributes:
        malformed: answers that were neither A nor B.
        unanswered: questions without a verdict in the end.
        tally: tokens, cost, retries (`endpoint.calls.Tally`).
    """

    both_orders = False  # unless asked for: it doubles the cost

    def __init__(
        self,
        endpoint: Endpoint,
        cache: AnswerCache,
        limits: Limits = Limits(),
        budget: Budget | None = None,
    ):
        self.name, self.model, self.where = endpoint.name, endpoint.model, endpoint.host
        client = ChatClient(endpoint, limits.timeout, droppable=("temperature",))
        self._calls = Calls(client, cache, limits, budget or Budget())
        self.malformed = self.unanswered = 0

    @property
    def tally(self) -> Tally:
        return self._calls.tally

    def preferences(
        self, items: Sequence[Item], progress: Callable[[int], object] = lambda n: None
    ) -> np.ndarray:
        """1 for the first text, -1 for the second, NaN where there is no verdict. float64 [n]"""
        verdicts = np.full(len(items), np.nan)
        open_ = range(len(items))
        for turn in range(ASKED):
            answers = self._calls.run(
                [self._request(items[k], turn) for k in open_],
                progress if turn == 0 else lambda n: None,
            )
            malformed = []
            for k, answer in zip(open_, answers):
                letter = read_answer(answer.text) if answer else None
                if letter:
                    verdicts[k] = 1.0 if letter == "A" else -1.0
                elif answer:
                    malformed.append(k)
            self.malformed += len(malformed)
            if not malformed:
                break
            open_ = malformed
        self.unanswered += int(np.isnan(verdicts).sum())
        return verdicts

    def _request(self, item: Item, turn: int) -> ChatRequest:
        endpoint, messages = self._calls.client.endpoint, item.messages(reminder=turn > 0)
        key = digest("judge", endpoint.url, endpoint.model, messages, turn)
        return ChatRequest(key, messages, MAX_TOKENS, {"temperature": 0})
