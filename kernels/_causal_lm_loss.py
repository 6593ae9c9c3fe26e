"""A language model's loss by its labels, as trainers give them, without all logits at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dftfast.kernels._linear_logprob import linear_cross_entropy, linear_logprob
from dftfast.kernels.checks import in_autocast_dtype

BLOCK = 2**24  # logits that exist at a time under a soft cap: 64 MiB in fp32


def causal_lm_loss(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor | None,
    *,
    num_items_in_batch: Tensor | int | None = None,
    ignore_index: int = -100,
    shift_labels: Tensor | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    softcap: float | None = None,
) -> Tensor:
    """Cross-entropy of a head's logits, hidden weightᵀ, with the labels' next tokens.

    As transformers' `ForCausalLMLoss` and torch's `cross_entropy`, of a head's input in place of
    its output: with V words and log-probabilities logp, a token's loss is

        -(1 - label_smoothing) logp[label] - label_smoothing / V * Σ_v logp_v

    hidden: [..., T, d] float32, bfloat16 or float16; weight: [V, d] in the same dtype. labels:
    [..., T] int64; position t is scored with label t + 1, the last one not at all. shift_labels:
    the same already shifted, used in place of labels. Positions with ignore_index are left out,
    and cost nothing outside torch.compile. reduction: "mean" over the scored positions, "sum", or
    "none"; num_items_in_batch replaces the number that the sum is divided by (gradient
    accumulation). softcap: logits become softcap * tanh(logits / softcap) first (Gemma 2).
    Returns float32: a scalar, or [..., T] with 0 where nothing is scored. Where no position is
    scored the mean is 0, with zero gradients (torch gives NaN). Differentiable in hidden and
    weight.

    Without softcap the logits go through `linear_cross_entropy`; smoothing needs their mean alone,
    h · mean(weight). With it they are made by torch, a block of tokens at a time, twice.
    Under autocast, hidden and weight are cast as for a product. Raises ValueError for shapes that
    do not fit, a label outside the vocabulary (on a CPU), label_smoothing outside [0, 1], a softcap
    not above 0 or another reduction; TypeError for other dtypes.
    """
    target = _next(labels, ignore_index) if shift_labels is None else shift_labels
    _check(hidden, target, reduction, label_smoothing, softcap)
    hidden, weight = in_autocast_dtype(hidden, weight)
    rows, flat = hidden.reshape(-1, hidden.shape[-1]), target.reshape(-1).to(hidden.device)
    scored = flat != ignore_index
    if torch.compiler.is_compiling():  # a number of rows that depends on the data breaks the graph
        picked, wanted, share = rows, flat.masked_fill(~scored, 0), scored.float()
    else:
        picked, wanted = rows[scored], flat[scored]
        share = torch.ones(len(wanted), device=rows.device)
    if reduction == "none":
        losses = share * _losses(picked, weight, wanted, label_smoothing, softcap)
        if len(losses) == len(flat):
            return losses.view(target.shape)
        return losses.new_zeros(len(flat)).masked_scatter(scored, losses).view(target.shape)
    if num_items_in_batch is not None:
        share = share / num_items_in_batch
    elif reduction == "mean":
        share = share / scored.sum().clamp(min=1)
    if softcap is not None:
        return (share * _losses(picked, weight, wanted, label_smoothing, softcap)).sum()
    loss, _ = linear_cross_entropy(picked, weight, wanted, share)
    if label_smoothing:
        loss = loss + label_smoothing * (share * _above_mean(picked, weight, wanted)).sum()
    return loss


def _next(labels: Tensor | None, ignore_index: int) -> Tensor:
    if labels is None:
        raise ValueError("causal_lm_loss: labels or shift_labels expected")
    return F.pad(labels[..., 1:], (0, 1 if labels.shape[-1] else 0), value=ignore_index)


def _check(
    hidden: Tensor, target: Tensor, reduction: str, label_smoothing: float, softcap: float | None
) -> None:
    if target.shape != hidden.shape[:-1]:
        raise ValueError(
            f"causal_lm_loss: labels {tuple(hidden.shape[:-1])} expected for hidden "
            f"{tuple(hidden.shape)}, got {tuple(target.shape)}"
        )
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"causal_lm_loss: reduction mean, sum or none expected, got {reduction!r}")
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(
            f"causal_lm_loss: label_smoothing must be in [0, 1], got {label_smoothing}"
        )
    if softcap is not None and not softcap > 0:
        raise ValueError(f"causal_lm_loss: softcap must be above 0, got {softcap}")


def _losses(
    h: Tensor, weight: Tensor, target: Tensor, label_smoothing: float, softcap: float | None
) -> Tensor:
    """Every row's loss, float32 [rows]."""
    if softcap is not None:
        return _capped(h, weight, target, label_smoothing, softcap)
    losses = -linear_logprob(h, weight, target)[0]
    return losses + label_smoothing * _above_mean(h, weight, target) if label_smoothing else losses


def _above_mean(h: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    """The target's logit less the mean of all logits, from two rows of the weight."""
    return (h.float() * (weight[target].float() - weight.float().mean(0))).sum(-1)


def _capped(
    h: Tensor, weight: Tensor, target: Tensor, label_smoothing: float, softcap: float
) -> Tensor:
    def losses(h: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        logits = softcap * torch.tanh((h @ weight.t()).float() / softcap)
        return F.cross_entropy(logits, target, reduction="none", label_smoothing=label_smoothing)

    step = max(1, BLOCK // len(weight))
    blocks = zip(h.split(step), target.split(step))
    return torch.cat([checkpoint(losses, *b, weight, use_reentrant=False) for b in blocks])
