"""`transformers.Trainer` of a model that computes by this project's operators.

One call: RMSNorm, SwiGLU, rotary positions and the loss, whose logits never exist together.

    python examples/transformers_trainer.py MODEL TEXTS.jsonl OUT

MODEL is a folder or hub id of a Llama (SmolLM), Mistral, Qwen2 or Qwen3 model; TEXTS.jsonl has a
field "text" in every line.
"""

from __future__ import annotations

import sys

from datasets import load_dataset
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainingArguments,
)

from dftfast.integrations.transformers import apply


def main(model_name: str, texts: str, out: str, **arguments) -> Trainer:
    tokenizer = AutoTokenizer.from_pretrained(model_name)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(model_name)
    apply(model)
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
    trainer = Trainer(
        model=model,
        args=TrainingArguments(out, **settings),
        train_dataset=dataset,
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
    )
    trainer.train()
    return trainer


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
