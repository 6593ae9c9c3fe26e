"""The tokens of a text as a point of 512 dimensions."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

# No supported model has as large a vocabulary (Qwen3: 151,936); the cube of it is below 2⁶³.
TOKENS = 2**18


def lexical_points(tokens: Tensor, offsets: Tensor) -> Tensor:
    """fp32 [n, 512], of unit length: log(1 + count) of each token, projected.

    The projection, the same for all texts, keeps distances to about 1/sqrt(512) (Johnson and
    Lindenstrauss; sparse signs after Li, Hastie and Church, KDD 2006). Coordinates are rounded to
    float16, as which a target keeps them.
    """
    once = np.ones(len(tokens), dtype=np.float32)
    shape = (len(offsets) - 1, TOKENS)
    counts = sparse.csr_matrix((once, tokens.numpy(), offsets.numpy()), shape)
    counts.sum_duplicates()
    logs = counts.log1p()  # pyright: ignore[reportAttributeAccessIssue]
    points = torch.from_numpy(_projection().transform(logs).toarray())
    return torch.nn.functional.normalize(points, dim=1).half().float()


@cache
def _projection() -> Any:  # scikit-learn has no types
    from sklearn.random_projection import SparseRandomProjection

    options: dict[str, Any] = {"n_components": 512, "density": 1 / 64, "random_state": 0}
    return SparseRandomProjection(**options).fit(sparse.csr_matrix((1, TOKENS), dtype=np.float32))
