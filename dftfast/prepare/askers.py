"""The two kinds of model: behind an OpenAI-compatible API, and on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dftfast.endpoint import AnswerCache, Budget, Calls, ChatClient, ChatRequest, Endpoint, Limits
from dftfast.prepare.asking import Question

if TYPE_CHECKING:
    from dftfast.rollout import RolloutEngine

_BATCH = 32  # questions between two writes of answers
_PARAMETERS = {"temperature": 0, "response_format": {"type": "json_object"}}


class EndpointAsker:
    """Asks an endpoint; parameters that it does not take are left out.

    Args:
        answers: file that answers are kept in.
    """

    def __init__(self, endpoint: Endpoint, answers: Path, limits: Limits, budget: Budget):
        client = ChatClient(endpoint, limits.timeout, droppable=tuple(_PARAMETERS))
        self.calls = Calls(client, AnswerCache(answers), limits, budget)
        self.identity = [endpoint.url, endpoint.model]

    def holds(self, key: str) -> bool:
        return key in self.calls.cache

    def __call__(self, keys: list[str], questions: list[Question]) -> list[str | None]:
        requests = [
            ChatRequest(key, question.messages, question.max_tokens, _PARAMETERS)
            for key, question in zip(keys, questions)
        ]
        return [answer and answer.text for answer in self.calls.run(requests)]


class LocalAsker:
    """A model folder through the rollout engine, greedy, the shared start of prompts read once.

    Args:
        answers: file that answers are kept in.
    """

    def __init__(self, name: str, answers: Path, device: str | None = None):
        from dftfast.model.config import ModelConfig
        from dftfast.model.device import pick_device
        from dftfast.model.pretrained import resolve_model
        from dftfast.model.tokenizer import Tokenizer
        from dftfast.model.weights import check_model, fingerprint

        self.folder, self.device = resolve_model(name), pick_device(device)
        check_model(self.folder)
        self.tokenizer = Tokenizer.from_folder(self.folder)
        self.context = ModelConfig.from_folder(self.folder).max_position_embeddings
        self.identity = [fingerprint(self.folder)]
        self.cache = AnswerCache(answers)
        self._engine: RolloutEngine | None = None

    def holds(self, key: str) -> bool:
        return key in self.cache

    def __call__(self, keys: list[str], questions: list[Question]) -> list[str | None]:
        missing = {k: q for k, q in zip(keys, questions) if k not in self.cache}
        prompts = {k: self.tokenizer.chat(q.messages) for k, q in missing.items()}
        fits = [k for k in missing if len(prompts[k]) + missing[k].max_tokens <= self.context]
        for start in range(0, len(fits), _BATCH):
            self._write({k: (prompts[k], missing[k]) for k in fits[start : start + _BATCH]})
        self.cache.close()
        return [self.cache.get(key) for key in keys]

    def _write(self, asked: dict[str, tuple[list[int], Question]]) -> None:
        from dftfast.rollout import Request, Sampler

        requests = [
            Request(i, prompt, Sampler(temperature=0, max_tokens=question.max_tokens))
            for i, (prompt, question) in enumerate(asked.values())
        ]
        batch = self._loaded().generate(requests)
        keys = list(asked)
        for i in range(len(batch)):
            text = self.tokenizer.decode(batch.output(i))
            self.cache.put(keys[int(batch.request[i])], text)

    def _loaded(self) -> RolloutEngine:
        """The engine; the weights are read at the first question that has no answer."""
        from dftfast.model.device import pick_dtype
        from dftfast.model.weights import load_decoder
        from dftfast.rollout import RolloutEngine

        if self._engine is None:
            dtype = pick_dtype(None, self.device)
            decoder = load_decoder(self.folder, dtype, str(self.device))
            self._engine = RolloutEngine(decoder, self.tokenizer, agreement_samples=0)
        return self._engine
