"""The one training loop: likelihood of prompts' completions, or another loss of packed batches."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace

from torch import Tensor, nn

from dftfast.model.decoder import Decoder
from dftfast.model.device import is_out_of_memory
from dftfast.optimise import distributed
from dftfast.optimise.checkpoint import Checkpoints
from dftfast.optimise.likelihood import likelihood
from dftfast.optimise.optimiser import Optimiser
from dftfast.optimise.packing import Example, PackedBatch, batches, by_budget, pack
from dftfast.optimise.sharded_join import sharded_join
from dftfast.runtime.errors import TrainingStopped
from dftfast.runtime.files import digest
from dftfast.runtime.profile import stage
from dftfast.runtime.signals import held

logger = logging.getLogger(__name__)
# A loss of likelihood of this many times the usual one is an explosion.
LOSS_LIMIT = 3.0
Loss = Callable[[Decoder, PackedBatch, float], Tensor]  # (decoder, batch, scale) -> scalar
Reweigh = Callable[[list[Example]], list[Example]]


@dataclass(frozen=True)
class FitSettings:
    """How to train.

    Attributes:
        learning_rate: the peak of the schedule.
        epochs: passes over the examples.
        batch_tokens: tokens of a step, prompts included.
        micro_tokens: tokens of one forward pass at most, prompts included.
        warmup: share of the steps in which the learning rate rises to its peak.
        weight_decay: of AdamW.
        grad_clip: largest norm of a gradient.
        loss_limit: a loss of this many times the usual one skips its step; 0 is no limit.
    """

    learning_rate: float
    epochs: int = 1
    batch_tokens: int = 8192
    micro_tokens: int = 4096
    warmup: float = 0.05
    weight_decay: float = 0.0
    grad_clip: float = 1.0
    loss_limit: float = 0.0


@dataclass(frozen=True)
class LoopHooks:
    """What a caller may put into the training loop.

    Attributes:
        loss: what is minimised; it multiplies its sum over the batch by the scale that it is given.
        reweigh: gives the examples of a step their weights under the policy as it stands, just
            before the step; called with the examples of this process, so it looks at each alone.
        checkpoints: where to go on from, if there is something, and to save to.
        inputs: digest of what the plan of the steps depends on; `fit` computes its own.
    """

    loss: Loss = likelihood
    reweigh: Reweigh | None = None
    checkpoints: Checkpoints | None = None
    inputs: str = ""


NO_HOOKS = LoopHooks()


def fit(
    decoder: Decoder,
    parameters: Sequence[nn.Parameter],
    examples: Sequence[Example],
    settings: FitSettings,
    seed: int,
    log: Callable[[dict], None],
    hooks: LoopHooks = NO_HOOKS,
) -> None:
    """Train `parameters` on the completions of `examples`.

    The loss of a step is the mean over its completion tokens, weighted by `Example.weight`,
    exactly: however the step is cut into micro-batches and shared out over processes, the gradient
    is that of the whole.

    Args:
        log: gets one dict a step: step, steps, loss (nats per token), grad_norm, learning_rate,
            tokens, tokens_per_second, skipped.

    Raises:
        TrainingStopped: too many bad steps in a row, or a checkpoint could not be written.
        Interrupted: a signal came; the last step is done and saved.
    """
    plan = list(batches(examples, settings.batch_tokens, settings.epochs, seed))
    hooks = replace(hooks, inputs=digest(asdict(settings), seed, examples))
    train(decoder, parameters, plan, len(plan), settings, log, hooks)


def train(
    decoder: Decoder,
    parameters: Sequence[nn.Parameter],
    plan: Iterable[list[Example]],
    steps: int,
    settings: FitSettings,
    log: Callable[[dict], None],
    hooks: LoopHooks = NO_HOOKS,
) -> None:
    """Do what `fit` does on a given plan.

    Args:
        plan: the examples of each of `steps` updates, asked for just before the update.
    """
    optimiser = Optimiser(
        parameters,
        settings.learning_rate,
        total_steps=steps,
        warmup=settings.warmup,
        weight_decay=settings.weight_decay,
        grad_clip=settings.grad_clip,
        loss_limit=settings.loss_limit,
    )
    checkpoints = hooks.checkpoints
    done, micro_tokens = _restore(decoder, optimiser, hooks) or (0, settings.micro_tokens)
    with held() as stop_requested:
        for step, batch in enumerate(plan, 1):
            if step <= done:
                continue
            record, micro_tokens = _update(decoder, optimiser, batch, micro_tokens, hooks)
            log({"step": step, "steps": steps, **record})
            stop = distributed.any_rank(stop_requested())
            if checkpoints and distributed.rank() == 0:
                state = {**optimiser.numbers(), "micro_tokens": micro_tokens}
                checkpoints.offer(step, optimiser.tensors, state, now=stop)
            if stop:
                break
    if checkpoints:
        checkpoints.wait()


def _restore(decoder: Decoder, optimiser: Optimiser, hooks: LoopHooks) -> tuple[int, int] | None:
    """Go on from the newest checkpoint of these inputs: its step and `micro_tokens`, if any."""
    checkpoints = hooks.checkpoints
    if not checkpoints:
        return None
    saved = distributed.rank0_first(lambda: checkpoints.load(hooks.inputs))
    if not saved:
        return None
    optimiser.restore(saved.tensors, saved.state)
    decoder.version += 1
    return saved.step, saved.state["micro_tokens"]


def _update(
    decoder: Decoder,
    optimiser: Optimiser,
    batch: list[Example],
    micro_tokens: int,
    hooks: LoopHooks,
) -> tuple[dict, int]:
    """Take one step on the batch; what there is to log of it, and `micro_tokens` from here on."""
    start, rate = time.perf_counter(), optimiser.rate()
    total = sum(abs(weight) for example in batch for weight in example.weights)
    part = distributed.shard(batch, [len(example) for example in batch])
    part = hooks.reweigh(part) if hooks.reweigh else part
    value, micro_tokens = gradient(decoder, part, 1 / total, hooks.loss, micro_tokens)
    value = distributed.all_reduce_gradients(optimiser.parameters, value)
    norm, taken = optimiser.step(value)
    decoder.version += 1
    tokens = sum(map(len, batch))
    record = {
        "loss": value,
        "grad_norm": norm,
        "learning_rate": rate,
        "tokens": tokens,
        "tokens_per_second": tokens / (time.perf_counter() - start),
        "skipped": not taken,
    }
    return record, micro_tokens


def gradient(
    decoder: Decoder, batch: Sequence[Example], scale: float, loss: Loss, micro_tokens: int
) -> tuple[float, int]:
    """Add the gradient of the batch's loss, times `scale`.

    As often as memory runs out, `micro_tokens` is halved and the batch begun again.

    Returns:
        The loss times `scale`, and `micro_tokens` as it worked in the end.
    """
    while True:
        groups = by_budget(batch, micro_tokens)
        try:
            device = decoder.embed.device
            with sharded_join(decoder, backward=True):
                value = sum(
                    backward(decoder, pack(group).to(device), scale, loss) for group in groups
                )
                return value, micro_tokens
        except (MemoryError, RuntimeError) as wrong:
            if not is_out_of_memory(wrong) or len(groups) == len(batch):
                raise
            if decoder.sharded:  # the others are in the midst of the same pass
                raise TrainingStopped(
                    f"out of memory, with sharded layers: lower micro_tokens ({micro_tokens})"
                ) from wrong
        for parameter in decoder.parameters():
            parameter.grad = None
        micro_tokens = min(micro_tokens, sum(map(len, batch))) // 2
        logger.warning(
            "out of memory: going on with at most %d tokens in a forward pass", micro_tokens
        )


def backward(decoder: Decoder, batch: PackedBatch, scale: float, loss: Loss) -> float:
    """Add the gradient of the batch's loss, times `scale`; the product of loss and scale."""
    with stage("forward"):
        value = loss(decoder, batch, scale)
    with stage("backward"):
        value.backward()
    return float(value.detach())
