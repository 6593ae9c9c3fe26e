"""What a decoder looks like, read from the config.json of a Hugging Face-format folder."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from dftfast.runtime.errors import UserError

# one decoder class serves them all
FAMILIES = ("qwen3", "qwen2", "llama", "mistral", "smollm3")
ORIGINAL = "original_max_position_embeddings"
THETA = {"smollm3": 2_000_000.0}  # of the rotary frequencies, where a config leaves it out


@dataclass(frozen=True)
class ModelConfig:
    """Sizes and switches of a dense decoder with rotary positions, RMSNorm and SwiGLU.

    `qk_norm` (Qwen3) normalises each query and key head; `attention_bias` (Qwen2.5) puts a bias
    on q, k and v; `rope_scaling` holds Llama 3's or yarn's scaling of frequencies or `None`;
    `no_rope` (SmolLM3) are the layers without rotary positions.
    """

    model_type: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    rms_norm_eps: float
    rope_theta: float
    rope_scaling: dict | None
    tie_word_embeddings: bool
    qk_norm: bool
    attention_bias: bool
    max_position_embeddings: int
    eos_token_ids: tuple[int, ...]
    no_rope: tuple[int, ...] = ()

    @classmethod
    def from_folder(cls, folder: str | Path) -> ModelConfig:
        """Read `folder/config.json` (and `generation_config.json` for the end tokens).

        Raises:
            UserError: no such folder or file, unreadable JSON, a missing field, or a model that
                this decoder does not compute (another family, activation, rope or attention
                variant).
        """
        path = Path(folder) / "config.json"
        if not Path(folder).is_dir():
            raise UserError(f"{folder}: no such model folder")
        raw = read_json(path)
        family = raw.get("model_type")
        if family not in FAMILIES:
            raise UserError(
                f"{path}: model_type {family!r} is not supported; supported: {', '.join(FAMILIES)}"
            )
        _refuse_quantised(raw, path)
        try:
            config = cls(
                model_type=family,
                vocab_size=int(raw["vocab_size"]),
                hidden_size=int(raw["hidden_size"]),
                intermediate_size=int(raw["intermediate_size"]),
                num_layers=int(raw["num_hidden_layers"]),
                num_heads=int(raw["num_attention_heads"]),
                num_kv_heads=int(raw.get("num_key_value_heads") or raw["num_attention_heads"]),
                head_dim=int(
                    raw.get("head_dim") or raw["hidden_size"] // raw["num_attention_heads"]
                ),
                rms_norm_eps=float(raw.get("rms_norm_eps", 1e-6)),
                rope_theta=_rope_theta(raw),
                rope_scaling=(scaling := _rope_scaling(raw, path)),
                tie_word_embeddings=bool(raw.get("tie_word_embeddings", family == "smollm3")),
                qk_norm=family == "qwen3",
                attention_bias=family == "qwen2" or bool(raw.get("attention_bias", False)),
                max_position_embeddings=_context(raw, scaling),
                eos_token_ids=_eos_token_ids(raw, Path(folder)),
                no_rope=_no_rope(raw),
            )
        except KeyError as missing:
            raise UserError(f"{path}: field {missing} is missing") from None
        except (TypeError, ValueError, ArithmeticError, AttributeError) as wrong:
            raise UserError(f"{path}: a field has the wrong type or value ({wrong})") from None
        config.check(raw, path)
        return config

    def check(self, raw: dict, path: Path) -> None:
        sizes = (
            "vocab_size",
            "hidden_size",
            "intermediate_size",
            "num_layers",
            "num_heads",
            "num_kv_heads",
            "head_dim",
        )
        for name in sizes:
            if not 0 < getattr(self, name) <= 1 << 24:
                raise UserError(f"{path}: {name} = {getattr(self, name)} is out of range")
        if (
            self.num_layers > 1 << 12
            or self.num_heads * self.head_dim > 1 << 24
            or self.max_position_embeddings < 1
        ):
            raise UserError(
                f"{path}: num_hidden_layers, the heads' joint size or max_position_embeddings is "
                "out of range"
            )
        least = 1 if self.rope_scaling and self.rope_scaling["rope_type"] == "yarn" else 0
        if not (least < self.rope_theta < math.inf and 0 <= self.rms_norm_eps < 1):
            raise UserError(
                f"{path}: rope_theta = {self.rope_theta} or rms_norm_eps = {self.rms_norm_eps} is "
                "out of range"
            )
        scaling = {k: v for k, v in (self.rope_scaling or {}).items() if k != "rope_type"}
        if not all(v is None or 0 <= v < math.inf for v in scaling.values()) or not all(
            scaling.get(name, 1) for name in ("factor", ORIGINAL)
        ):
            raise UserError(f"{path}: the rope scaling {self.rope_scaling} is out of range")
        if not all(0 <= token < self.vocab_size for token in self.eos_token_ids):
            raise UserError(
                f"{path}: eos_token_id {self.eos_token_ids} is outside the vocabulary of "
                f"{self.vocab_size}"
            )
        if self.num_heads % self.num_kv_heads or self.head_dim % 2:
            raise UserError(
                f"{path}: num_attention_heads must be a multiple of num_key_value_heads, "
                "head_dim even"
            )
        if raw.get("hidden_act", "silu") not in ("silu", "swish"):
            raise UserError(f"{path}: hidden_act {raw['hidden_act']!r} is not supported (silu is)")
        if raw.get("mlp_bias") or (self.attention_bias and self.model_type != "qwen2"):
            raise UserError(f"{path}: biases other than Qwen2's on q, k and v are not supported")
        if raw.get("use_sliding_window"):
            raise UserError(f"{path}: sliding-window attention is not supported")


def read_json(path: Path) -> dict:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path}: not found; a model folder holds config.json and *.safetensors"
        ) from None
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as wrong:
        raise UserError(f"{path}: not valid JSON: {wrong}") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path}: expected a JSON object, found {type(raw).__name__}")
    return raw


def _rope(raw: dict) -> dict:
    """Rope settings: transformers 5 writes `rope_parameters`, earlier versions two fields."""
    return raw.get("rope_parameters") or raw.get("rope_scaling") or {}


def _rope_theta(raw: dict) -> float:
    given = raw.get("rope_theta") or _rope(raw).get("rope_theta")
    return float(given or THETA.get(raw["model_type"], 10000.0))


def _rope_scaling(raw: dict, path: Path) -> dict | None:
    rope = _rope(raw)
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind == "default":
        return None
    if kind == "llama3":
        fields = ("factor", "low_freq_factor", "high_freq_factor", ORIGINAL)
        scaling = {"rope_type": kind, **{name: float(rope[name]) for name in fields}}
        if not 0 < scaling["low_freq_factor"] < scaling["high_freq_factor"]:
            raise ValueError("high_freq_factor must be above low_freq_factor")
        return scaling
    if kind != "yarn":
        raise UserError(
            f"{path}: rope type {kind!r} is not supported (default, llama3 and yarn are)"
        )
    optional = lambda name: None if rope.get(name) is None else float(rope[name])
    return {
        "rope_type": kind,
        "factor": float(rope["factor"]),
        ORIGINAL: float(rope.get(ORIGINAL) or raw["max_position_embeddings"]),
        "beta_fast": float(rope.get("beta_fast") or 32),
        "beta_slow": float(rope.get("beta_slow") or 1),
        "truncate": bool(rope.get("truncate", True)),
        **{name: optional(name) for name in ("attention_factor", "mscale", "mscale_all_dim")},
    }


def _context(raw: dict, scaling: dict | None) -> int:
    """The longest sequence: yarn's is its factor times the original, a window's the window.

    Within its window a sliding attention is the usual one.
    """
    context = int(raw.get("max_position_embeddings", 2048))
    if scaling and scaling["rope_type"] == "yarn":
        context = max(context, int(scaling["factor"] * scaling[ORIGINAL]))
    if raw["model_type"] == "mistral" and raw.get("sliding_window"):
        context = min(context, int(raw["sliding_window"]))
    return context


def _no_rope(raw: dict) -> tuple[int, ...]:
    """SmolLM3's layers without positions: every fourth, unless they are listed (0 is without)."""
    if raw["model_type"] != "smollm3":
        return ()
    layers, interval = int(raw["num_hidden_layers"]), int(raw.get("no_rope_layer_interval") or 4)
    listed = raw.get("no_rope_layers")
    if listed is None:
        listed = [(index + 1) % interval for index in range(min(layers, 1 << 12))]
    if len(listed) < layers:
        raise ValueError(f"no_rope_layers has {len(listed)} entries for {layers} layers")
    return tuple(index for index in range(layers) if not listed[index])


def _refuse_quantised(raw: dict, path: Path) -> None:
    quantised = raw.get("quantization_config")
    if quantised:
        method = quantised.get("quant_method") if isinstance(quantised, dict) else None
        method = {"bitsandbytes": "bitsandbytes, 4 or 8 bits"}.get(str(method), method)
        raise UserError(
            f"{path}: the weights are quantised ({method or 'quantization_config'}); give the "
            "16-bit checkpoint that they were made from (model.quantization=nf4 quantises it here)"
        )


def _eos_token_ids(raw: dict, folder: Path) -> tuple[int, ...]:
    generation = folder / "generation_config.json"
    eos = (read_json(generation) if generation.exists() else {}).get("eos_token_id")
    eos = raw.get("eos_token_id") if eos is None else eos
    if eos is None:
        return ()
    return tuple(int(token) for token in (eos if isinstance(eos, list) else [eos]))
