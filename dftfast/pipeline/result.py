"""What a run hands over: the merged model, and its adapters as one, as other tools load them."""

from __future__ import annotations

import shutil

from dftfast.model.adapter import combined
from dftfast.model.policy import Policy
from dftfast.model.serving import write_generation_config
from dftfast.optimise.distributed import on_rank0
from dftfast.pipeline.run import Run


def save_result(run: Run, policy: Policy) -> None:
    """Write `merged/`, and `adapter/` where the policy is its base and adapters.

    The temperature that the policy starts from is in the final norm of `merged/`, which no adapter
    can change: `adapter/` is to be sampled at it. Both are written anew each time.
    """
    c = run.config.dft

    def write() -> None:
        for name in ("merged", "adapter"):
            shutil.rmtree(run.path / name, ignore_errors=True)
        policy.save(run.path / "merged", run.tokenizer, c.min_p)
        if not policy.adapters:
            return
        temperature = policy.temperature
        combined(policy.adapters).save(run.path / "adapter", policy.folder, temperature)
        write_generation_config(run.path / "adapter", run.tokenizer.eos_ids, c.min_p, temperature)

    on_rank0(write)
