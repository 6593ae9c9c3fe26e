"""A differentiable MMD penalty that draws hidden states of human texts and samples together."""

from __future__ import annotations

import torch
from torch import Tensor

from dftfast.baselines.learn import learn
from dftfast.dft.context import PhaseContext
from dftfast.kernels import linear_cross_entropy
from dftfast.model.decoder import Decoder
from dftfast.optimise.fit import LoopHooks
from dftfast.optimise.likelihood import completion_states
from dftfast.optimise.packing import Example, PackedBatch

PENALTY = 1.0


def hidden_mmd(context: PhaseContext, phase: int) -> dict:
    """Likelihood of the human texts, with the penalty between them and own samples.

    The samples answer the same prompts. A text's state is the mean over its tokens. The samples
    were drawn at the phase's start; the gradient moves how the model represents both sets, since
    sampling itself cannot be differentiated.
    """
    prompts = context.phase_prompts(phase)
    rollouts = context.sample(prompts, 1, context.seed + phase, f"hidden-mmd {phase}: samples")
    texts = rollouts.samples
    own = {
        id(prompts[p]): Example(prompts[p].prompt, texts.tokens_of(i), 0.0)
        for i, p in enumerate(rollouts.prompt)
    }
    answered = [e for e in prompts if id(e) in own]

    def beside_own(batch: list[Example]) -> list[Example]:
        return [text for example in batch for text in (example, own[id(example)])]

    hooks = LoopHooks(loss=penalised_likelihood, reweigh=beside_own)
    learn(context, phase, answered, hooks)
    return {"cut_or_empty": rollouts.left_out}


def penalised_likelihood(decoder: Decoder, batch: PackedBatch, scale: float) -> Tensor:
    """Examples of weight 0 are the model's own samples."""
    hidden = completion_states(decoder, batch)
    loss, _ = linear_cross_entropy(
        hidden, decoder.head_weight, batch.targets, batch.weights * scale
    )
    text, count = batch.documents, len(batch.offsets) - 1
    sums = hidden.new_zeros(count, hidden.shape[1], dtype=torch.float32).index_add(
        0, text, hidden.float()
    )
    states = sums / torch.bincount(text, minlength=count)[:, None]
    human = batch.weights.new_zeros(count).index_put((text,), batch.weights) > 0
    share = scale * batch.weights.sum()  # of the step's tokens that this micro-batch holds
    return loss + PENALTY * share * mmd2(states[human], states[~human])


def mmd2(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased MMD² with a Gaussian of the median distance; 0 for a set of fewer than two rows."""
    if min(len(x), len(y)) < 2:
        return x.new_zeros(())
    squared = torch.cdist(torch.cat([x, y]), torch.cat([x, y])).square()
    kernel = torch.exp(-squared / (2 * squared.detach().median().clamp(min=1e-12)))
    n = len(x)
    return _within(kernel[:n, :n]) + _within(kernel[n:, n:]) - 2 * kernel[:n, n:].mean()


def _within(kernel: Tensor) -> Tensor:
    """Mean of a kernel between different rows of one set."""
    return (kernel.sum() - kernel.diagonal().sum()) / (len(kernel) * (len(kernel) - 1))
