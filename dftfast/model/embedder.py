"""Texts to vectors by a sentence-transformers model, or without a network (`fixed_embedders`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from dftfast.model.device import multiplies_bfloat16, pick_device
from dftfast.model.fixed_embedders import BY_NAME
from dftfast.model.pretrained import WORDLLAMA, resolve_embedder
from dftfast.runtime.errors import UserError
from dftfast.runtime.profile import stage

SPECIAL = 2  # tokens that a model adds to a text


def check_embedder(name: str | None) -> None:
    """Fetch an embedder of this name, or raise UserError."""
    if name == WORDLLAMA or name not in BY_NAME:
        _refuse_code(resolve_embedder(name))


class Embedder:
    """Embeds texts with a sentence-transformers model.

    Args:
        name: folder or hub id of the model; None is all-MiniLM-L6-v2; "character-ngrams" and
            "wordllama" are `CharacterNgrams` and `WordVectors` of `fixed_embedders`.
        device: None is CUDA where there is one, else the CPU.

    A text longer than the model reads (`max_tokens`: 256 for MiniLM, about 190 words) is embedded
    in windows of that size, and its embedding is their mean by length, at the length that the model
    gives; `windowed` counts such texts. Where the hardware multiplies bfloat16 faster (on a CPU:
    AMX, or AMD's AVX512-BF16), matrix products are in bfloat16 (autocast) and everything else in
    float32: about twice as fast, and the cosine with the float32 embedding stays above 0.9999.
    """

    def __new__(cls, name: str | None = None, device: str | torch.device | None = None):
        return object.__new__(FixedEmbedder if name in BY_NAME else cls)

    def __init__(self, name: str | None = None, device: str | torch.device | None = None):
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()  # a bar for the hundred tensors of a small model is noise
        folder = resolve_embedder(name)
        self.name = name or folder.name
        self.device = pick_device(device)
        _refuse_code(folder)
        try:
            self._model = SentenceTransformer(
                str(folder),
                device=str(self.device),
                trust_remote_code=False,
                model_kwargs={"dtype": torch.float32, "use_safetensors": True},
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise UserError(
                f"embedder {self.name}: sentence-transformers cannot load it: {error}"
            ) from error
        self.max_tokens = self._model.max_seq_length
        self.dimension = self._model.encode([""], show_progress_bar=False).shape[-1]
        self.windowed = 0

    @stage("embed")
    def encode(
        self,
        texts: Sequence[str],
        progress: Callable[[int], object] | None = None,
        batch_size: int | None = None,
    ) -> torch.Tensor:
        """Embeddings, float32 [len(texts), dimension] on the CPU, as the model normalises them.

        They are rounded to float16, as which targets keep them: far less than bfloat16 products
        leave uncertain. `progress(n)` is called after every batch with the number of texts it held.
        Texts are batched by length.
        """
        pieces, owners, weights = self._windows(texts)
        vectors = self._encode(pieces, progress, batch_size, len(texts))
        if len(pieces) == len(texts):
            return _rounded(vectors)
        owner, weight = torch.tensor(owners), torch.tensor(weights)[:, None]
        total = torch.zeros(len(texts), 1).index_add_(0, owner, weight)
        mean = lambda values: (
            torch.zeros(len(texts), values.shape[1]).index_add_(0, owner, weight * values) / total
        )
        pooled = mean(vectors)
        length = mean(vectors.norm(dim=1, keepdim=True))
        return _rounded(pooled * (length / pooled.norm(dim=1, keepdim=True).clamp_min(1e-12)))

    def _windows(self, texts: Sequence[str]) -> tuple[list[str], list[int], list[float]]:
        """The texts in pieces that the model reads whole; of each its text and its tokens."""
        tokenizer, room = self._model.tokenizer, (self.max_tokens or 0) - SPECIAL
        pieces, owners, weights = [], [], []
        for k, text in enumerate(texts):
            # at least one character for a token: most texts need not be tokenised to be short
            offsets = []
            if room > 0 and len(text) > room:
                encoded = tokenizer(
                    text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
                )
                offsets = encoded["offset_mapping"]
            if len(offsets) <= room:
                pieces.append(text)
                owners.append(k)
                weights.append(1.0)
                continue
            self.windowed += 1
            for start in range(0, len(offsets), room):
                part = offsets[start : start + room]
                pieces.append(text[part[0][0] : part[-1][1]])
                owners.append(k)
                weights.append(float(len(part)))
        return pieces, owners, weights

    def _encode(
        self,
        texts: Sequence[str],
        progress: Callable[[int], object] | None,
        batch_size: int | None,
        whole: int,
    ) -> torch.Tensor:
        """Embeddings of pieces, of which there are more than the `whole` texts."""
        batch_size = batch_size or (16 if self.device.type == "cpu" else 256)
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        out, told = torch.empty(len(texts), self.dimension), 0
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            with torch.autocast(
                self.device.type, torch.bfloat16, enabled=multiplies_bfloat16(self.device)
            ):
                out[batch] = (
                    self._model.encode(
                        [texts[i] for i in batch],
                        batch_size=batch_size,
                        convert_to_tensor=True,
                        show_progress_bar=False,
                    )
                    .float()
                    .cpu()
                )
            if progress is not None:
                done = whole * (start + len(batch)) // len(order)
                progress(done - told)
                told = done
        return out


class FixedEmbedder(Embedder):
    """Embeds with what `fixed_embedders` has, on the CPU."""

    def __init__(self, name: str, device: str | torch.device | None = None):
        self._fixed = BY_NAME[name]()
        self.name, self.dimension = name, self._fixed.dimension
        self.device, self.max_tokens, self.windowed = torch.device("cpu"), None, 0

    @stage("embed")
    def encode(
        self,
        texts: Sequence[str],
        progress: Callable[[int], object] | None = None,
        batch_size: int | None = None,
    ) -> torch.Tensor:
        batch_size = batch_size or 256
        out = torch.empty(len(texts), self.dimension)
        for start in range(0, len(texts), batch_size):
            vectors = self._fixed.encode(texts[start : start + batch_size])
            out[start : start + len(vectors)] = vectors
            if progress is not None:
                progress(len(vectors))
        return _rounded(out)


def _rounded(vectors: torch.Tensor) -> torch.Tensor:
    return vectors.half().float()


def _refuse_code(folder: Path) -> None:
    """Refuse the classes that a local folder names and brings along.

    Before version 6, sentence-transformers imports them.
    """
    file = folder / "modules.json"
    try:
        modules = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
        foreign = [
            m["type"] for m in modules if not str(m["type"]).startswith("sentence_transformers.")
        ]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{file}: not a list of modules: {error}") from None
    if foreign:
        raise UserError(
            f"{file}: names the class {foreign[0]!r}; only those of sentence-transformers itself "
            "are loaded"
        )
