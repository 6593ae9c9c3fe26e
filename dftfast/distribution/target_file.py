"""Target files: safetensors with a header in JSON.

Points are float16, as which embedders and `lexical_points` round them, so that nothing is lost;
style is float32; n-grams are packed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from dftfast.distribution.ngram_table import ORDERS, NGramTable
from dftfast.distribution.own_texts import Known
from dftfast.distribution.packed import pack, unpack
from dftfast.distribution.private_target import FourierMean, PrivateTarget
from dftfast.distribution.samples import Samples
from dftfast.distribution.style import STYLE_FEATURES
from dftfast.distribution.targets import Target
from dftfast.runtime.errors import UserError
from dftfast.runtime.files import atomic_file

VERSION = 2
POINTS = {"embeddings": np.float16, "lexical": np.float16, "style": np.float32}
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class TargetFile:
    """What a target file holds.

    Attributes:
        header: what was measured and with what, by name (docs/targets.md).
        target: for training.
        samples: the texts, where it was made with them.
        arrays: what else there is, for evaluation.
    """

    path: Path
    header: dict
    target: Target | PrivateTarget
    samples: Samples | None
    arrays: Arrays


def save_target(
    path: Path,
    target: Target | PrivateTarget,
    header: Mapping,
    samples: Samples | None = None,
    arrays: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Args: header, arrays: what evaluation needs; samples: the texts, to keep them too."""
    content = dict(arrays or {})
    tables = _write_texts(content, target)
    if samples is not None:
        content |= {
            "samples.tokens": samples.tokens.numpy().astype(np.int32),
            "samples.lengths": samples.lengths.numpy().astype(np.int32),
            "samples.texts": np.frombuffer(json.dumps(samples.texts).encode(), np.uint8),
        }
    whole = {"version": VERSION, **header, "tables": tables}
    with atomic_file(path) as temporary:
        save_file(content, temporary, {"dftfast_target": json.dumps(whole)})


def load_target(path: str | Path) -> TargetFile:
    """Raises UserError where there is no such file or it is no target."""
    path = Path(path)
    try:
        with safe_open(str(path), "np") as file:
            header = json.loads((file.metadata() or {})["dftfast_target"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        why = "no such file" if not path.is_file() else f"{type(error).__name__}: {error}"
        raise UserError(
            f"{path}: no target can be read ({why}); `dftfast target CORPUS --out FILE` makes one"
        ) from None
    if header.get("version") != VERSION:
        raise UserError(f"{path}: a target of version {header.get('version')}, this is {VERSION}")
    try:
        target = _read_texts(arrays, header["tables"])
        return TargetFile(path, header, target, _read_samples(arrays, target), arrays)
    except (KeyError, ValueError, TypeError, IndexError, RuntimeError) as error:
        raise UserError(f"{path}: the target is damaged ({error!r}); make it again") from None


def _write_texts(content: Arrays, target: Target | PrivateTarget) -> dict:
    """Put the arrays into `content`; returns what else there is to know of the n-grams."""
    if isinstance(target, Target):
        for name, dtype in POINTS.items():
            content[f"texts.{name}"] = getattr(target, name).cpu().numpy().astype(dtype)
        content["texts.keys"] = target.known.keys
    else:
        for name, mean in target.views.items():
            for field, values in mean.arrays().items():
                content[f"texts.{name}.{field}"] = values
    tables = {}
    for n, table in target.ngrams.items():
        content[f"texts.ngrams{n}.keys"] = pack(np.diff(table.keys, prepend=0))
        content[f"texts.ngrams{n}.counts"] = pack(table.counts.ravel())
        tables[str(n)] = {
            "kinds": len(table.keys),
            "totals": table.totals.tolist(),
            "squares": table.squares,
            "squared_sizes": table.squared_sizes,
        }
    return tables


def _read_texts(arrays: Arrays, tables: Mapping) -> Target | PrivateTarget:
    take = lambda name: arrays.pop(f"texts.{name}")
    ngrams = {}
    for n in ORDERS:
        of = tables[str(n)]
        kinds = int(of["kinds"])
        keys = np.cumsum(unpack(take(f"ngrams{n}.keys"), kinds))
        counts = unpack(take(f"ngrams{n}.counts"), 2 * kinds).reshape(2, kinds)
        ngrams[n] = NGramTable(
            keys,
            counts.astype(np.float64),
            np.array(of["totals"], np.float64),
            float(of["squares"]),
            float(of["squared_sizes"]),
        )
    if "texts.keys" not in arrays:
        read = lambda name: FourierMean.read(lambda field: take(f"{name}.{field}"))
        return PrivateTarget({name: read(name) for name in PrivateTarget.NAMES}, ngrams)
    embeddings, lexical, style = (
        torch.from_numpy(take(name).astype(np.float32)) for name in POINTS
    )
    keys = take("keys")
    if any(each.ndim != 2 or len(each) != len(keys) for each in (embeddings, lexical, style)):
        raise ValueError("of some texts there are no points")
    if style.shape[1] != len(STYLE_FEATURES):
        raise ValueError(f"{style.shape[1]} features of style")
    return Target(embeddings, lexical, style, ngrams, Known.plain(keys))


def _read_samples(arrays: Arrays, target: Target | PrivateTarget) -> Samples | None:
    if "samples.texts" not in arrays or isinstance(target, PrivateTarget):
        return None
    texts = json.loads(arrays.pop("samples.texts").tobytes().decode())
    tokens = torch.from_numpy(arrays.pop("samples.tokens").astype(np.int64))
    lengths = torch.from_numpy(arrays.pop("samples.lengths").astype(np.int64))
    offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    if len(texts) != len(target) or len(lengths) != len(texts) or offsets[-1] != len(tokens):
        raise ValueError("texts and points differ in number")
    return Samples(target.embeddings, tokens, offsets, texts)
