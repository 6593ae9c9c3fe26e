"""Which requests an engine takes."""

from __future__ import annotations

from dftfast.model.config import ModelConfig
from dftfast.rollout.request import Request
from dftfast.runtime.errors import UserError


def check_requests(
    requests: list[Request], config: ModelConfig, capacity: int, has_tokenizer: bool
) -> None:
    """Refuse what can never be computed, before anything is.

    Args:
        config: of the model.
        capacity: tokens of the cache.
        has_tokenizer: whether stop strings can be told from tokens.

    Raises:
        UserError: a request that can never fit, an id used twice, a token outside the vocabulary,
            stop strings without a tokenizer.
    """
    seen: set[int] = set()
    for request in requests:
        where = f"request {request.id}"
        if request.id in seen:
            raise UserError(f"{where}: the id is used twice; ids must be unique within a call")
        seen.add(request.id)
        if not all(0 <= token < config.vocab_size for token in request.prompt):
            raise UserError(
                f"{where}: the prompt holds a token outside the vocabulary of {config.vocab_size}"
            )
        request.sampler.check_vocabulary(config.vocab_size)
        if request.sampler.stop_strings and not has_tokenizer:
            raise UserError(f"{where}: stop_strings need an engine with a tokenizer")
        new_tokens = request.sampler.max_tokens
        wanted = f"{where}: {len(request.prompt)} prompt tokens and {new_tokens} new ones"
        length = len(request.prompt) + new_tokens
        if length > config.max_position_embeddings:
            raise UserError(
                f"{wanted} exceed the model's context of {config.max_position_embeddings}"
            )
        if length - 1 > capacity:  # the last token's key and value are never needed
            raise UserError(
                f"{wanted} can never fit the cache of {capacity} tokens; enlarge cache_tokens"
            )
