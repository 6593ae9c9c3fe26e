"""A causal model on this machine, to judge or to detect with."""

from __future__ import annotations

from functools import cached_property

from dftfast.model.config import ModelConfig
from dftfast.model.decoder import Decoder
from dftfast.model.device import pick_device, pick_dtype
from dftfast.model.pretrained import resolve_model
from dftfast.model.tokenizer import Tokenizer
from dftfast.model.weights import check_model, fingerprint, load_decoder


class LocalModel:
    """Decoder and tokenizer of a model folder or hub id.

    Attributes:
        decoder: loaded at its first use, until `release`.
        context: tokens that it can read.
        fingerprint: changes when a file of the folder does.
    """

    def __init__(self, name: str, device: str | None = None):
        self.folder, self.device = resolve_model(name), pick_device(device)
        check_model(self.folder)
        self.tokenizer = Tokenizer.from_folder(self.folder)
        self.context = ModelConfig.from_folder(self.folder).max_position_embeddings
        self.fingerprint = fingerprint(self.folder)

    @cached_property
    def decoder(self) -> Decoder:
        return load_decoder(self.folder, pick_dtype(None, self.device), str(self.device))

    def release(self) -> None:
        """Give up the memory of the decoder; the next use loads it again."""
        self.__dict__.pop("decoder", None)
