"""AdamW on fp32 masters with warm-up, cosine decay, clipping and skipped bad steps."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from dftfast.runtime.errors import Diverged
from dftfast.runtime.profile import stage

log = logging.getLogger(__name__)


class Optimiser:
    """AdamW (Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101), decoupled weight decay.

    Parameters in half precision get fp32 masters; fp32 parameters (LoRA) are their own. A step
    whose loss or gradient norm is not finite is skipped; one whose loss explodes is skipped and the
    rate halved from then on. `MAX_SKIPPED` in a row raise Diverged.

    Args:
        learning_rate: the peak, reached after `warmup` (a share of `total_steps`), then a cosine to
            zero.
        grad_clip: largest L2 norm of the whole gradient; 0 leaves it alone.
        loss_limit: a loss of more than this many times its running mean is an explosion; 0 is no
            limit.
    """

    MAX_SKIPPED = 10

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        learning_rate: float,
        total_steps: int,
        warmup: float = 0.05,
        weight_decay: float = 0.0,
        grad_clip: float = 1.0,
        loss_limit: float = 0.0,
    ):
        self.parameters = list(parameters)
        half = [p.dtype != torch.float32 for p in self.parameters]
        self.masters = [p.detach().float() if h else p for p, h in zip(self.parameters, half)]
        self.learning_rate, self.total_steps, self.grad_clip = learning_rate, total_steps, grad_clip
        self.loss_limit, self.usual_loss = loss_limit, 0.0
        self.warmup_steps = max(1, round(warmup * total_steps))
        self.steps_taken = self.skipped_in_a_row = 0
        self.adamw = torch.optim.AdamW(
            self.masters, lr=0.0, betas=(0.9, 0.99), weight_decay=weight_decay, fused=True
        )

    def rate(self) -> float:
        """Learning rate of the coming step."""
        step = self.steps_taken
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        progress = (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    @stage("optimiser")
    def step(self, loss: float = 0.0) -> tuple[float, bool]:
        """Update from the gradients and clear them.

        Returns:
            The gradient's norm before clipping, and whether the step was taken.

        Raises:
            Diverged: `MAX_SKIPPED` steps in a row were not.
        """
        for parameter, master in zip(self.parameters, self.masters):
            if master is not parameter:
                master.grad = _gradient(parameter).float()
        norm = nn.utils.get_total_norm([_gradient(master) for master in self.masters])
        taken = self._sound(loss, float(norm))
        if taken:
            if self.grad_clip:
                nn.utils.clip_grads_with_norm_(self.masters, self.grad_clip, norm)
            for group in self.adamw.param_groups:
                group["lr"] = self.rate()
            self.adamw.step()
            with torch.no_grad():
                for parameter, master in zip(self.parameters, self.masters):
                    if master is not parameter:
                        parameter.copy_(master)
        self.steps_taken += 1
        self.skipped_in_a_row = 0 if taken else self.skipped_in_a_row + 1
        for tensor in (*self.parameters, *self.masters):
            tensor.grad = None
        if self.skipped_in_a_row >= self.MAX_SKIPPED:
            raise Diverged(
                f"{self.MAX_SKIPPED} steps in a row had a non-finite or exploding loss; "
                "lower the learning rate"
            )
        return float(norm), taken

    def _sound(self, loss: float, norm: float) -> bool:
        if not (math.isfinite(loss) and math.isfinite(norm)):
            log.warning(
                "step %d skipped: loss %g, gradient norm %g", self.steps_taken + 1, loss, norm
            )
            return False
        if self.loss_limit and loss > self.loss_limit * self.usual_loss > 0:
            self.learning_rate /= 2
            log.warning(
                "step %d skipped: loss %g, usually %g; the learning rate is halved from here on",
                self.steps_taken + 1,
                loss,
                self.usual_loss,
            )
            return False
        self.usual_loss = 0.9 * self.usual_loss + 0.1 * loss if self.usual_loss else loss
        return True

    # What a checkpoint holds.

    NUMBERS = ("steps_taken", "skipped_in_a_row", "learning_rate", "usual_loss")

    def tensors(self) -> dict[str, Tensor]:
        """fp32 masters and both moments."""
        tensors = {}
        for i, master in enumerate(self.masters):
            moments = self.adamw.state.get(master, {})
            tensors[f"{i}.master"] = master
            for name in ("step", "exp_avg", "exp_avg_sq"):
                if moments.get(name) is not None:
                    tensors[f"{i}.{name}"] = moments[name]
        return tensors

    def numbers(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in self.NUMBERS}

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor], numbers: dict[str, float]) -> None:
        """Go on from what `tensors` and `numbers` gave."""
        for name in self.NUMBERS:
            setattr(self, name, numbers[name])
        for i, (parameter, master) in enumerate(zip(self.parameters, self.masters)):
            master.copy_(tensors[f"{i}.master"])
            if master is not parameter:
                parameter.copy_(master)
            if f"{i}.step" in tensors:
                moments = {name: torch.zeros_like(master) for name in ("exp_avg", "exp_avg_sq")}
                for name, moment in moments.items():
                    moment.copy_(tensors[f"{i}.{name}"])
                self.adamw.state[master] = {
                    "step": tensors[f"{i}.step"].to(master.device),
                    **moments,
                }


def _gradient(tensor: Tensor) -> Tensor:
    """The gradient that a backward pass has left."""
    assert tensor.grad is not None, "a parameter took no part in the loss"
    return tensor.grad
