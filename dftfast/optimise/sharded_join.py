"""Passes through a sharded decoder, in which every process takes part, with work left or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from dftfast.model.attention import packed_causal
from dftfast.model.decoder import Decoder
from dftfast.model.device import is_out_of_memory
from dftfast.optimise.distributed import any_rank


@contextmanager
def sharded_join(decoder: Decoder, backward: bool = False) -> Iterator[None]:
    """Within the block each process may call a sharded decoder as often as it likes.

    All of them meet before each call; a process that is through with the block goes on with calls
    on one token until the others are too. With `backward` a backward pass follows each call.
    Nothing happens unless the decoder is sharded.
    """
    if not decoder.sharded:
        yield
        return

    def meet(*_) -> None:
        any_rank(True)

    hook = decoder.register_forward_pre_hook(meet)
    try:
        yield
    except RuntimeError as wrong:
        if not is_out_of_memory(wrong):
            any_rank(True)  # names the rank that was lost during a pass, if that is what happened
        raise
    finally:
        hook.remove()
    token = torch.zeros(1, dtype=torch.int64, device=decoder.embed.device)
    attend = packed_causal(torch.tensor([0, 1], device=token.device))
    while any_rank(False):
        with torch.set_grad_enabled(backward):
            hidden = decoder(token, token, attend)
        if backward:
            (0 * hidden).sum().backward()
