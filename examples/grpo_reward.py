"""TRL's GRPOTrainer with a discrepancy as its reward: a text gains by what the others lack.

python examples/grpo_reward.py MODEL TEXTS.jsonl OUT

TEXTS.jsonl has the fields "prompt" and "text" in every line.
"""

from __future__ import annotations

import sys
from typing import Any

from datasets import load_dataset
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from dftfast.distribution.mmd import MMD
from dftfast.integrations.trl import DiscrepancyReward
from dftfast.model.embedder import Embedder


def main(
    model: str, texts: str, out: str, embedder: str | None = None, **arguments: Any
) -> GRPOTrainer:
    data = load_dataset("json", data_files=texts, split="train")
    reward: Any = DiscrepancyReward(MMD(), list(data["text"]), embed=Embedder(embedder).encode)
    settings = {"num_generations": 8, "max_completion_length": 128, "report_to": "none"}
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=[reward],
        args=GRPOConfig(out, **{**settings, **arguments}),
        train_dataset=data.remove_columns("text"),
    )
    trainer.train()
    return trainer


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
