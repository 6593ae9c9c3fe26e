"""The human texts of a phase's own prompts, as the discrepancies see texts."""

from __future__ import annotations

from collections.abc import Sequence

from dftfast.dft.context import PhaseContext
from dftfast.distribution.samples import Samples
from dftfast.optimise.packing import Example


def own_human(context: PhaseContext, prompts: Sequence[Example]) -> Samples:
    """One text a prompt, in their order."""
    texts = [context.tokenizer.decode(example.completion).strip() for example in prompts]
    return Samples.of(context.embed(texts), [e.completion for e in prompts], texts)
