"""What a discrepancy is, and what it looks at."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from dftfast.distribution.samples import Samples


class Points(Protocol):
    """Texts as points, float32 [n, d] each: what kernels are taken between."""

    @property
    def embeddings(self) -> Tensor: ...

    @property
    def lexical(self) -> Tensor: ...

    @property
    def style(self) -> Tensor: ...


class Discrepancy(Protocol):
    """A metric of a population of texts that also says how to lower it.

    Fitted once on human texts; `value` is the metric, `witness` minus its first variation.

    `witness` has one entry per sample or one per token. Because the metric is a functional of the
    output distribution q, policy gradient with the witness as reward is gradient descent on the
    metric.
    """

    def fit(self, human: Samples) -> None: ...

    def value(self, samples: Samples) -> float: ...

    def witness(self, samples: Samples) -> Tensor: ...
