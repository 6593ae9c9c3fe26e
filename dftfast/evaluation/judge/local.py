"""A judge on this machine: which letter a causal model thinks more likely."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np

from dftfast.endpoint import AnswerCache
from dftfast.endpoint.cache import digest
from dftfast.evaluation.judge.questions import Item
from dftfast.evaluation.local_model import LocalModel
from dftfast.runtime.errors import UserError

CHUNK = 128  # questions at a time; what they say is kept after each
CACHE_TOKENS = 65536  # of keys and values: the questions about a pair share their beginning
# added to a letter's logit: it is drawn for certain, and its own probability is reported
FORCED = 1e4


class LocalJudge:
    """Any causal model through the rollout engine.

    It says log P(A) - log P(B) as the next token after the question.

    Every pair is asked about in both orders and the two are added, so that a preference for a
    letter or a place, which small models have, cancels out.

    Attributes:
        unanswered: questions that are longer than the model's context.
    """

    both_orders, malformed, tally = True, 0, None

    def __init__(self, name: str, model: str, cache: AnswerCache, device: str | None = None):
        self.name, self.model, self.where, self.unanswered = name, model, "this machine", 0
        self._cache, self._local = cache, LocalModel(model, device)
        self._letters = [self._token(letter) for letter in "AB"]

    def preferences(
        self, items: Sequence[Item], progress: Callable[[int], object] = lambda n: None
    ) -> np.ndarray:
        """log P(A) - log P(B) in nats: above 0 for the first text. float64 [n]

        NaN where a question is too long.
        """
        log_odds, self._engine = np.full(len(items), np.nan), None
        try:
            for start in range(0, len(items), CHUNK):
                part = range(start, min(start + CHUNK, len(items)))
                keys = [
                    digest("local judge", self._local.fingerprint, items[k].messages())
                    for k in part
                ]
                missing = [(k, key) for k, key in zip(part, keys) if key not in self._cache]
                for (_, key), value in zip(missing, self._log_odds([items[k] for k, _ in missing])):
                    self._cache.put(key, value)
                log_odds[part.start : part.stop] = [
                    np.nan if (v := self._cache.get(key)) is None else v for key in keys
                ]
                progress(len(part))
        finally:
            self._cache.close()
            self._engine = None
            self._local.release()
        self.unanswered += int(np.isnan(log_odds).sum())
        return log_odds

    def _log_odds(self, items: Sequence[Item]) -> list[float | None]:
        from dftfast.rollout import Request, RolloutEngine, Sampler

        prompts = [self._local.tokenizer.chat(item.messages()) for item in items]
        fitting = [k for k, prompt in enumerate(prompts) if len(prompt) < self._local.context]
        forced = [
            Sampler(temperature=0, max_tokens=1, logit_bias={letter: FORCED})
            for letter in self._letters
        ]
        requests = [
            Request(2 * k + which, prompts[k], forced[which]) for k in fitting for which in (0, 1)
        ]
        if not requests:
            return [None] * len(items)
        if self._engine is None:
            logging.getLogger("dftfast.rollout").setLevel(logging.WARNING)  # it reports every call
            self._engine = RolloutEngine(
                self._local.decoder,
                self._local.tokenizer,
                agreement_samples=0,
                cache_tokens=max(CACHE_TOKENS, self._local.context),
            )
        batch = self._engine.generate(requests)
        logprob = dict(zip(batch.request.tolist(), batch.logprobs.tolist()))
        return [
            logprob[2 * k] - logprob[2 * k + 1] if 2 * k in logprob else None
            for k in range(len(items))
        ]

    def _token(self, letter: str) -> int:
        ids = self._local.tokenizer.encode(letter)
        if len(ids) != 1:
            raise UserError(
                f"judge {self.name}: the letter {letter} is {len(ids)} tokens of {self.model}; it "
                "must be one"
            )
        return ids[0]
