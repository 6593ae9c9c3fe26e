"""The one training loop: likelihood of (prompt, completion) pairs, or another loss of the same packed batches."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

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
Loss = Callable[[Decoder, PackedBatch, float], Tensor]  # (decoder, batch, scale) -> scalar


@dataclass(frozen=True)
class FitSettings:
    """How to train: ``batch_tokens`` a step, ``micro_tokens`` at most in one forward (both count prompts)."""

    learning_rate: float
    epochs: int = 1
    batch_tokens: int = 8192
    micro_tokens: int = 4096
    warmup: float = 0.05
    weight_decay: float = 0.0
    grad_clip: float = 1.0
    loss_limit: float = 0.0  # times the usual loss at which a step is skipped; 0 is none


def fit(
    decoder: Decoder,
    parameters: Sequence[nn.Parameter],
    examples: Sequence[Example],
    settings: FitSettings,
    seed: int,
    log: Callable[[dict], None],
    loss: Loss | None = None,
    reweigh: Callable[[list[Example]], list[Example]] | None = None,
    checkpoints: Checkpoints | None = None,
) -> None:
    """Train ``parameters`` on the completions of ``examples``.

    The loss of a step is the mean over its completion tokens, weighted by ``Example.weight``, exactly: however
    the step is cut into micro-batches and shared out over processes, the gradient is that of the whole. ``log`` gets one dict a step: step,
    steps, loss (nats per token), grad_norm, learning_rate, tokens, tokens_per_second, skipped.

    Args:
        loss: in place of ``likelihood``; it multiplies its sum over the batch by the scale that it is given.
        reweigh: gives the examples of a step their weights under the policy as it stands, just before the step;
            called with the examples of this process, so it looks at each alone.
        checkpoints: where to go on from, if there is something, and to save to.

    Raises:
        TrainingStopped: too many bad steps in a row, or a checkpoint could not be written.
        Interrupted: a signal came; the last step is done and saved.
    """
    plan = list(batches(examples, settings.batch_tokens, settings.epochs, seed))
    inputs = digest(asdict(settings), seed, examples)
    train(decoder, parameters, plan, len(plan), settings, log, loss, reweigh, checkpoints, inputs)


def train(
    decoder: Decoder,
    parameters: Sequence[nn.Parameter],
    plan: Iterable[list[Example]],
    steps: int,
    settings: FitSettings,
    log: Callable[[dict], None],
    loss: Loss | None = None,
    reweigh: Callable[[list[Example]], list[Example]] | None = None,
    checkpoints: Checkpoints | None = None,
    inputs: str = "",
    extra: dict[str, Tensor] | None = None,
    together: int = 1,
) -> None:
    """``fit`` on a given plan: the examples of each of ``steps`` updates, asked for just before the update.

    Args:
        inputs: digest of what the plan depends on.
        extra: tensors that ``log`` changes; saved, and restored in place, with the optimiser's.
        together: updates that the plan asks for in one go; the loop is saved and stopped only between such groups.
    """
    optimiser = Optimiser(
        parameters,
        settings.learning_rate,
        steps,
        settings.warmup,
        settings.weight_decay,
        settings.grad_clip,
        settings.loss_limit,
    )
    done, micro_tokens = 0, settings.micro_tokens
    if checkpoints and (saved := distributed.rank0_first(lambda: checkpoints.load(inputs))):
        optimiser.restore(saved.tensors, saved.state)
        for name, tensor in (extra or {}).items():
            tensor.copy_(saved.tensors[name])
        decoder.version += 1
        done, micro_tokens = saved.step, saved.state["micro_tokens"]
    with held() as stop_requested:
        for step, batch in enumerate(plan, 1):
            if step <= done:
                continue
            start, rate = time.perf_counter(), optimiser.rate()
            total = sum(abs(weight) for example in batch for weight in example.weights)
            part = distributed.shard(batch, [len(example) for example in batch])
            part = reweigh(part) if reweigh else part
            value, micro_tokens = gradient(
                decoder, part, 1 / total, loss or likelihood, micro_tokens
            )
            value = distributed.all_reduce_gradients(parameters, value)
            norm, taken = optimiser.step(value)
            decoder.version += 1
            tokens = sum(map(len, batch))
            log(
                {
                    "step": step,
                    "steps": steps,
                    "loss": value,
                    "grad_norm": norm,
                    "learning_rate": rate,
                    "tokens": tokens,
                    "tokens_per_second": tokens / (time.perf_counter() - start),
                    "skipped": not taken,
                }
            )
            if step % together:
                continue
            stop = distributed.any_rank(stop_requested())
            if checkpoints and distributed.rank() == 0:
                state = {**optimiser.numbers(), "micro_tokens": micro_tokens}
                checkpoints.offer(
                    step, lambda: optimiser.tensors() | (extra or {}), state, now=stop
                )
            if stop:
                break
    if checkpoints:
        checkpoints.wait()


def gradient(
    decoder: Decoder, batch: Sequence[Example], scale: float, loss: Loss, micro_tokens: int
) -> tuple[float, int]:
    """Add the gradient of the batch's loss, times ``scale``. Returns that product and ``micro_tokens``, which is
    halved, and the batch begun again, as often as memory runs out."""
    while True:
        groups = by_budget(batch, micro_tokens)
        try:
            device = decoder.embed.device
            with sharded_join(decoder, backward=True):
                return sum(
                    backward(decoder, pack(group).to(device), scale, loss) for group in groups
                ), micro_tokens
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
    """Add the gradient of the batch's loss, times ``scale``; returns that product."""
    with stage("forward"):
        value = loss(decoder, batch, scale)
    with stage("backward"):
        value.backward()
    return float(value.detach())
