"""A writer on this machine: the project's rollout engine, one request after another."""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from dftfast.data import Document, prompt_messages
from dftfast.model.adapter import Adapter
from dftfast.model.config import ModelConfig, read_json
from dftfast.model.pretrained import resolve_model
from dftfast.model.tokenizer import Tokenizer
from dftfast.model.weights import check_model
from dftfast.pipeline.local_texts import LocalModel, start_engine
from dftfast.rollout import Request, RolloutEngine, Sampler
from dftfast.runtime.errors import UserError
from dftfast.studio.in_thread import in_thread
from dftfast.studio.rewriting import Rewriter
from dftfast.studio.writer import Gap, Piece, most_tokens

log = logging.getLogger(__name__)
SEQUENCES = 12  # texts that are written at once
_SAMPLING = ("temperature", "top_k", "top_p", "min_p")


class LocalWriter:
    """Writes with a model in memory.

    The weights are read in the background, and a first token is drawn, so that neither the page nor
    the first draft waits for it.

    Args:
        model: `model.name` may be a run's folder, of which `merged` is taken.
        given: settings of the sampler in place of the model's own; None is its own.

    Raises:
        UserError: the model's files are not all there.
    """

    candidates = 6  # written side by side, which takes little longer than three

    def __init__(self, model: LocalModel, given: Mapping[str, float | None], max_tokens: int):
        folder = Path(model.name).expanduser() if model.name else None
        if folder and (folder / "merged" / "config.json").is_file():
            model = replace(model, name=str(folder / "merged"))
        self.folder = resolve_model(model.name)
        check_model(self.folder)
        self.name = model.name or self.folder.name
        self.sampler = own_sampler(self.folder, given, max_tokens)
        self.tokenizer = Tokenizer.from_folder(self.folder)
        config = ModelConfig.from_folder(self.folder)
        self.tokenizer.check_fits(config.vocab_size)
        self._context = config.max_position_embeddings
        self._model = replace(model, sequences=model.sequences or SEQUENCES)
        self._adapters = [Adapter.load(each) for each in model.adapters]
        self._pool = ThreadPoolExecutor(1, "writer")
        self._engine: Future[RolloutEngine] = self._pool.submit(self._load)

    @property
    def state(self) -> str:
        if not self._engine.done():
            return "loading"
        error = self._engine.exception()
        return "ready" if error is None else f"{type(error).__name__}: {error}"

    def write(self, brief: Document, drafts: int) -> AsyncGenerator[Piece, None]:
        prompt = self.tokenizer.chat(prompt_messages(brief))
        request = self._request(prompt, most_tokens(brief, self.sampler), drafts)
        return in_thread(self._pool, lambda: self._stream(request))

    def rewrite(self, brief: Document, gap: Gap, count: int) -> AsyncGenerator[str, None]:
        prompt = self.tokenizer.chat(prompt_messages(brief))
        make: Callable[[], Iterator[str]] = lambda: Rewriter(
            self._engine.result(), self.tokenizer, self.sampler
        ).passages(prompt, gap, count)
        return in_thread(self._pool, make)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _request(self, prompt: list[int], most: int, drafts: int) -> Request:
        room = self._context - len(prompt)
        if room < 1:
            raise UserError(
                f"the brief has {len(prompt)} tokens of the {self._context} that the model reads; "
                "shorten it"
            )
        sampler = replace(self.sampler, max_tokens=min(most, room))
        return Request(0, prompt, sampler, secrets.randbelow(2**63), drafts)

    def _stream(self, request: Request) -> Iterator[Piece]:
        for token in self._engine.result().stream(request):
            yield Piece(token.sample, token.text, token.finish_reason)

    def _load(self) -> RolloutEngine:
        engine = start_engine(self._model, self.folder, self.tokenizer, self._adapters)
        first = Request(0, self.tokenizer.encode("a"), Sampler(max_tokens=2))
        for _ in engine.stream(first):
            pass
        log.info("%s is ready", self.name)
        return engine


def own_sampler(folder: Path, given: Mapping[str, float | None], max_tokens: int) -> Sampler:
    """The sampler of a model's generation_config.json, with what is `given` in its place.

    A run writes there what its result was measured with.
    """
    path = folder / "generation_config.json"
    own = read_json(path) if path.is_file() else {}
    settings = {name: own[name] for name in _SAMPLING if isinstance(own.get(name), (int, float))}
    settings |= {name: value for name, value in given.items() if value is not None}
    return Sampler(**settings, max_tokens=max_tokens)
