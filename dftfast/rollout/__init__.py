"""Sampling from the policy: paged cache, continuous batching, counter-based random numbers."""

from dftfast.rollout.batch import Agreement, RolloutBatch, agreement
from dftfast.rollout.engine import RolloutEngine, StreamedToken
from dftfast.rollout.memory import MemoryPlan, RunShape, plan_memory
from dftfast.rollout.request import Request
from dftfast.rollout.sampler import Sampler

__all__ = [
    "Agreement",
    "MemoryPlan",
    "Request",
    "RolloutBatch",
    "RolloutEngine",
    "RunShape",
    "Sampler",
    "StreamedToken",
    "agreement",
    "plan_memory",
]
