"""Texts for prompts outside a run, by a model on this machine."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from dftfast.data import Document, prompt_messages
from dftfast.data.document import sample_number
from dftfast.data.generations import generation
from dftfast.model.adapter import Adapter
from dftfast.model.config import ModelConfig
from dftfast.model.device import pick_device, pick_dtype
from dftfast.model.policy import Policy
from dftfast.model.pretrained import resolve_model
from dftfast.model.tokenizer import Tokenizer
from dftfast.model.weights import check_model
from dftfast.rollout import Request, RolloutEngine, Sampler
from dftfast.runtime.errors import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LocalModel:
    """A model on this machine.

    Attributes:
        name: folder or hub id; None is SmolLM2-135M-Instruct.
        adapters: folders of LoRAs in their order.
        device, dtype: as a user names them.
        sequences, step_tokens, cache_tokens: of the engine; None is its own choice.
    """

    name: str | None = None
    adapters: Sequence[str | Path] = ()
    device: str | None = None
    dtype: str | None = None
    sequences: int | None = None
    step_tokens: int | None = None
    cache_tokens: int | None = None


class Texts:
    """The answers of a model to documents, refused before the model is loaded where they can be.

    Args:
        leave_out: leave out prompts that leave no room for an answer, each named; otherwise the
            first is a UserError.
    """

    def __init__(
        self,
        documents: Sequence[Document],
        model: LocalModel,
        sampler: Sampler,
        seed: int = 0,
        n: int = 1,
        leave_out: bool = False,
    ):
        self.model, self.sampler, self.seed, self.n = model, sampler, seed, n
        self.device = pick_device(model.device)
        self.adapters = [Adapter.load(folder) for folder in model.adapters]
        self.folder = resolve_model(model.name)
        check_model(self.folder)
        config = ModelConfig.from_folder(self.folder)
        self.tokenizer = Tokenizer.from_folder(self.folder)
        self.tokenizer.check_fits(config.vocab_size)
        self.documents: dict[int, Document] = {}
        self.requests = []
        for document in documents:
            request = self._request(document, config.max_position_embeddings, leave_out)
            if request is not None:
                self.documents[request.id] = document
                self.requests.append(request)
        if not self.requests:
            raise UserError("no prompt leaves room for an answer in the model's context")

    def _request(self, document: Document, context: int, leave_out: bool) -> Request | None:
        prompt = self.tokenizer.chat(prompt_messages(document))
        room = context - len(prompt)
        if room < 1:
            complaint = (
                f"prompt {document.id!r}: {len(prompt)} tokens leave no room for an answer in the "
                f"model's context of {context}"
            )
            if not leave_out:
                raise UserError(f"{complaint}; shorten it, or leave it out by --skip-bad-lines")
            log.warning("left out: %s", complaint)
            return None
        sampler = self.sampler
        if room < sampler.max_tokens:
            log.warning("prompt %r leaves room for %d tokens only", document.id, room)
            sampler = replace(sampler, max_tokens=room)
        return Request(sample_number(document.id), prompt, sampler, self.seed, self.n)

    def _engine(self) -> RolloutEngine:
        return start_engine(self.model, self.folder, self.tokenizer, self.adapters)

    def write(self, done: set[tuple[str, int]], keep: Callable[[dict], None]) -> None:
        """Answer what is not among the `done` (id, sample), giving each row to `keep` at once."""
        numbers = range(self.n)
        missing = [
            request
            for request in self.requests
            if not all((self.documents[request.id].id, k) in done for k in numbers)
        ]
        if not missing:
            return
        engine = self._engine()
        total = len(self.requests) * self.n
        with tqdm(total=total, unit="text", initial=len(done), dynamic_ncols=True) as bar:

            def finished(sequence) -> None:
                row = self._row(sequence)
                if (row["id"], sequence.sample) not in done:
                    keep(row)
                    bar.update()

            engine.generate(missing, on_sample=finished)

    def _row(self, sequence) -> dict:
        """The row of a finished sample of the engine."""
        request = sequence.request
        output = sequence.tokens[len(request.prompt) :]
        settings = request.sampler.settings | {"seed": self.seed}
        name = " + ".join([self.model.name or self.folder.name, *map(str, self.model.adapters)])
        document, text = self.documents[request.id], self.tokenizer.decode(output).strip()
        row = generation(document, text, output, sequence.finish_reason, settings, name)
        return row | ({"sample": sequence.sample} if self.n > 1 else {})

    def stream(self) -> Iterator[str]:
        """The first answer to the first prompt, piece by piece as it is sampled."""
        request = replace(self.requests[0], n=1)
        for token in self._engine().stream(request):
            yield token.text


def start_engine(
    model: LocalModel, folder: Path, tokenizer: Tokenizer, adapters: Sequence[Adapter] = ()
) -> RolloutEngine:
    """Load the weights in `folder` with the adapters merged, and make an engine of them."""
    device = pick_device(model.device)
    policy = Policy(folder, pick_dtype(model.dtype, device), device)
    for adapter in adapters:
        adapter.check(policy.decoder)
        policy.adapters.append(adapter)
    if adapters:
        policy.merge_weights()
    gpu = device.type == "cuda"
    return RolloutEngine(
        policy.decoder,
        tokenizer,
        max_sequences=model.sequences or (512 if gpu else 128),
        max_step_tokens=model.step_tokens or (8192 if gpu else 1024),
        cache_tokens=model.cache_tokens,
        agreement_samples=0,
    )
