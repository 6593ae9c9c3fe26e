"""`transformers.Trainer` with the head's logits never materialised.

The loss is `linear_cross_entropy` of hidden states.

    python examples/transformers_trainer.py MODEL TEXTS.jsonl OUT

MODEL is a folder or hub id of a causal language model; TEXTS.jsonl has a field "text" in every
line.
"""

from __future__ import annotations

import sys

import torch
from datasets import load_dataset
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainingArguments,
)

from dftfast.kernels import linear_cross_entropy


class LogitFreeTrainer(Trainer):
    """Everything as in Trainer, except that no tensor of (tokens x vocabulary) exists."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs.pop("labels")
        causal = self.accelerator.unwrap_model(model)
        hidden = causal.model(**inputs).last_hidden_state[:, :-1]
        targets = labels[:, 1:]
        counted = targets != -100
        h, target = hidden[counted], targets[counted]
        count = num_items_in_batch if num_items_in_batch is not None else counted.sum()
        token_weight = torch.ones(len(target), device=h.device) / count
        loss, _ = linear_cross_entropy(h, causal.lm_head.weight, target, token_weight)
        return (loss, {"loss": loss}) if return_outputs else loss


def main(model_name: str, texts: str, out: str, **arguments) -> LogitFreeTrainer:
    tokenizer = AutoTokenizer.from_pretrained(model_name)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(model_name)
    dataset = load_dataset("json", data_files=texts, split="train")
    dataset = dataset.map(
        lambda row: tokenizer(row["text"], truncation=True, max_length=512),
        remove_columns=dataset.column_names,
    )
    settings = {
        "per_device_train_batch_size": 8,
        "num_train_epochs": 1,
        "report_to": "none",
        **arguments,
    }
    trainer = LogitFreeTrainer(
        model=model,
        args=TrainingArguments(out, **settings),
        train_dataset=dataset,
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
    )
    trainer.train()
    return trainer


if __name__ == "__main__":
    main(*sys.argv[1:4])
