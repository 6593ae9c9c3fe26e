"""Sampling from the policy: paged cache, continuous batching, counter-based random numbers."""

from .batch import Agreement, RolloutBatch, agreement
from .engine import RolloutEngine, StreamedToken
from .memory import MemoryPlan, plan_memory
from .request import Request
from .sampler import Sampler

__all__ = [
    "Agreement", "MemoryPlan", "Request", "RolloutBatch", "RolloutEngine", "Sampler", "StreamedToken", "agreement",
    "plan_memory",
]  # fmt: skip
