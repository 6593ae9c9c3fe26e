"""transformers' models computed by this project's operators, without their weights changed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from dftfast.integrations.forwards import is_bare, is_replaced, replace, restore
from dftfast.kernels import causal_lm_loss, rope
from dftfast.kernels.modules import RMSNorm, SwiGLUMLP
from dftfast.runtime.errors import UserError

if TYPE_CHECKING:
    from transformers.modeling_outputs import CausalLMOutputWithPast

FAMILIES = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"}


def apply(model: nn.Module) -> int:
    """Let a Llama (SmolLM too), Mistral, Qwen2 or Qwen3 model compute by `dftfast.kernels`.

    RMSNorm, the SwiGLU MLP, rotary positions with Qwen3's norms of queries and keys, and, while
    training with labels, the loss: its logits are never held together, and the output has none.
    In evaluation mode, and where the head is not a plain nn.Linear without bias (an adapter on it,
    FSDP's or DeepSpeed's shards, a hook) or the loss is not transformers' own, logits and loss are
    transformers' own. Parameters, state dict, saving, PEFT, gradient checkpointing and `generate`
    stay. In bfloat16 results differ from transformers' by rounding.

    model: a `PreTrainedModel` or a PEFT model around one, before a trainer wraps it.
    Returns the number of modules that compute differently now. Raises UserError for another
    family, a model without such layers, one that this was applied to before, and one whose forward
    something else has replaced.
    """
    found = _modules(model)
    if any(is_replaced(module) for module, _ in found):
        raise UserError("apply: this model computes by dftfast already; undo(model) comes first")
    replace(found)
    return len(found)


def undo(model: nn.Module) -> int:
    """transformers' own forwards again. Returns their number.

    Raises UserError for a model that computes by them already.
    """
    replaced = [module for module, _ in _modules(model) if is_replaced(module)]
    if not replaced:
        raise UserError("undo: apply(model) has not been called")
    for module in replaced:
        restore(module)
    return len(replaced)


def _modules(model: nn.Module) -> list[tuple[nn.Module, Callable]]:
    """The modules of known classes, and what computes each."""
    config: Any = getattr(model, "config", None)
    name = getattr(config, "model_type", type(model).__name__)
    if name not in FAMILIES:
        raise UserError(
            f"apply: models of the type {name!r} are not known, only {', '.join(FAMILIES)}; "
            "take dftfast.kernels.modules for others"
        )
    if config.hidden_act not in ("silu", "swish"):
        raise UserError(f"apply: hidden_act silu expected, got {config.hidden_act!r}")
    source = importlib.import_module(f"transformers.models.{name}.modeling_{name}")
    computed_by = {
        getattr(source, f"{FAMILIES[name]}{part}"): function
        for part, function in (
            ("RMSNorm", RMSNorm.forward),
            ("MLP", SwiGLUMLP.forward),
            ("Attention", _attention),
            ("ForCausalLM", _causal_lm),
        )
    }
    found = [(m, computed_by[type(m)]) for m in model.modules() if type(m) in computed_by]
    if not found:
        raise UserError(f"apply: the model has no layer of transformers' {name}")
    return found


def _attention(
    self: Any,
    hidden_states: Tensor,
    position_embeddings: tuple[Tensor, Tensor],
    attention_mask: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """As the four families' Attention.forward: projections, rope, cache, attention, output."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    shape = (*hidden_states.shape[:-1], -1, self.head_dim)
    projections = self.q_proj, self.k_proj, self.v_proj
    q, k, v = (project(hidden_states).view(shape) for project in projections)
    half = self.head_dim // 2  # of both halves of a head, which turn by the same angles
    cos, sin = (t[..., :half].float().reshape(-1, half) for t in position_embeddings)
    norms = ()
    if hasattr(self, "q_norm"):
        norms = self.q_norm.weight, self.k_norm.weight, self.q_norm.variance_epsilon
    q, k, v = (t.transpose(1, 2) for t in (*rope(q, k, cos, sin, *norms), v))
    # Called `past_key_values` before transformers 5.20.
    cache = kwargs.pop("cache", kwargs.pop("past_key_values", None))
    if cache is not None:
        k, v = cache.update(k, v, self.layer_idx)
    eager = sys.modules[type(self).__module__].eager_attention_forward
    attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager)
    attended, weights = attend(
        self,
        q,
        k,
        v,
        attention_mask,
        dropout=self.attention_dropout if self.training else 0.0,
        scaling=self.scaling,
        sliding_window=getattr(
            self, "sliding_window", getattr(self.config, "sliding_window", None)
        ),
        **kwargs,
    )
    return self.o_proj(attended.reshape(*shape[:-2], -1).contiguous()), weights


def _causal_lm(self: Any, *args: Any, **kwargs: Any) -> CausalLMOutputWithPast:
    from transformers.modeling_outputs import CausalLMOutputWithPast

    if not _needs_no_logits(self, kwargs):
        return type(self).forward(self, *args, **kwargs)
    settings = {
        name: kwargs.pop(name)
        for name in ("num_items_in_batch", "shift_labels", "ignore_index")
        if name in kwargs
    }
    labels = kwargs.pop("labels")
    outputs = self.model(*args, **kwargs)
    loss = causal_lm_loss(
        outputs.last_hidden_state, self.lm_head.weight, labels.to(outputs[0].device), **settings
    )
    rest = {name: value for name, value in outputs.items() if name != "last_hidden_state"}
    return CausalLMOutputWithPast(loss=loss, **rest)


def _needs_no_logits(model: Any, kwargs: dict[str, Any]) -> bool:
    from transformers.loss.loss_utils import ForCausalLMLoss

    return (
        model.training
        and kwargs.get("labels") is not None
        and "logits_to_keep" not in kwargs
        and kwargs.get("return_dict", True) is not False
        and model.config.return_dict
        and is_bare(model.lm_head)
        and model.lm_head.bias is None
        and model.loss_function is ForCausalLMLoss
    )
