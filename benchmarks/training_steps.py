"""One optimiser step of LoRA training, ours and of transformers + PEFT, on the same documents.

    python benchmarks/training_steps.py memory NAME TOKENS

prints the peak memory of a step,

    torchrun ... benchmarks/training_steps.py speed TOKENS

the tokens a second of updates shared out.
"""

from __future__ import annotations

import os
import random
import resource
import statistics
import sys
from pathlib import Path

import torch

from dftfast.config import Config
from dftfast.data import docstring_corpus, load_corpus
from dftfast.model.device import pick_dtype
from dftfast.model.policy import Policy
from dftfast.model.pretrained import resolve_model
from dftfast.model.tokenizer import Tokenizer
from dftfast.optimise import distributed
from dftfast.optimise.fit import FitSettings, backward, fit
from dftfast.optimise.likelihood import likelihood
from dftfast.optimise.optimiser import Optimiser
from dftfast.optimise.packing import Example, PackedBatch, pack
from dftfast.pipeline import Run

RANK, ALPHA, RATE = 16, 32, 1e-3
DTYPE = pick_dtype(os.environ.get("DFTFAST_DTYPE"), torch.device("cpu"))


def documents(tokens: int = 0, count: int = 0, seed: int = 0) -> list[list[int]]:
    """Token ids of real documents of 20 to 250 tokens: `count`, or as many as fit `tokens`.

    They come from the corpus file that DFTFAST_CORPUS names, or else from the default corpus of
    docstrings.
    """
    corpus = os.environ.get("DFTFAST_CORPUS") or docstring_corpus()
    texts = [document.text for document in load_corpus([corpus])]
    random.Random(seed).shuffle(texts)
    found: list[list[int]] = []
    for ids in Tokenizer.from_folder(resolve_model()).encode_batch(texts[:5000]):
        if 20 <= len(ids) <= 250 and (count or sum(map(len, found)) + len(ids) <= tokens):
            found.append(ids)
        if len(found) == count:
            break
    return found


def briefed(count: int) -> list[Example]:
    """Documents of the default corpus, each after its brief in the chat template, as in a run."""
    return Run(Config()).examples(load_corpus([docstring_corpus()])[:count])


class Ours:
    """The packed step.

    `activation_checkpointing` is the share of layers that keep only their input for the backward.
    """

    def __init__(self, activation_checkpointing: float = 0.0, rank: int = RANK):
        self.policy = Policy(resolve_model(), DTYPE)
        self.parameters = self.policy.begin_phase(rank, ALPHA, seed=0)
        self.optimiser = Optimiser(self.parameters, RATE, total_steps=1000)
        self.policy.decoder.set_activation_checkpointing(activation_checkpointing)

    def step(self, texts: list[list[int]]) -> float:
        return self.update(pack([Example(ids[:1], ids[1:]) for ids in texts]))

    def update(self, batch: PackedBatch) -> float:
        loss = backward(self.policy.decoder, batch, 1 / len(batch.targets), likelihood)
        self.optimiser.step()
        return loss


class Peft:
    """transformers + PEFT with an adapter on every linear layer: padded, or flattened into a row.

    Flattened as by transformers' DataCollatorWithFlattening: positions start again with each
    document, from which transformers derives a mask that keeps attention inside it.
    """

    def __init__(self, flatten: bool):
        import peft
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(resolve_model(), dtype=DTYPE)
        config = peft.LoraConfig(
            r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules="all-linear"
        )
        self.model, self.flatten = peft.get_peft_model(model, config).train(), flatten
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            self.parameters, lr=RATE, betas=(0.9, 0.99), weight_decay=0.0, fused=True
        )

    def inputs(self, texts: list[list[int]]) -> dict[str, torch.Tensor]:
        if self.flatten:
            rows = {
                "input_ids": [i for ids in texts for i in ids],
                "labels": [i for ids in texts for i in [-100, *ids[1:]]],
                "position_ids": [i for ids in texts for i in range(len(ids))],
            }
            return {name: torch.tensor([row]) for name, row in rows.items()}
        longest = max(map(len, texts))
        padded = torch.tensor([ids + [0] * (longest - len(ids)) for ids in texts])
        real = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids in texts])
        return {
            "input_ids": padded,
            "attention_mask": real,
            "labels": padded.masked_fill(real == 0, -100),
        }

    def step(self, texts: list[list[int]]) -> float:
        loss = self.model(**self.inputs(texts), use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        return float(loss.detach())


class Products:
    """The bare matrix products that any implementation of a step must do, on operands made before.

    Of each base layer the forward product and the gradient of its input, of each adapter its six
    thin products, and the head's logits and their gradient; the first layer's input needs no
    gradient.
    """

    def __init__(self):
        decoder = Policy(resolve_model(), DTYPE).decoder
        self.head = decoder.head_weight
        self.layers = [
            m for layer in decoder.layers for m in (layer.qkv, layer.o, layer.gate_up, layer.down)
        ]

    def step(self, texts: list[list[int]]) -> None:
        count = sum(len(ids) - 1 for ids in texts)
        for index, module in enumerate(self.layers):
            rows, columns = module.weight.shape
            x, dy = (
                torch.empty(count, width, dtype=module.weight.dtype) for width in (columns, rows)
            )
            torch.mm(x, module.weight.t(), out=dy)
            if index:
                torch.mm(dy, module.weight, out=x)
            for width in module.splits:
                a, b, u = (
                    torch.empty(*s, dtype=x.dtype)
                    for s in ((RANK, columns), (width, RANK), (count, RANK))
                )
                y = torch.empty(count, width, dtype=x.dtype)
                x @ a.t(), u @ b.t(), y @ b, u @ a, u.t() @ x, y.t() @ u
        h = torch.empty(count, self.head.shape[1], dtype=self.head.dtype)
        for part in h.split(320):  # blocks of logits, as a head that never holds all of them
            logits = part @ self.head.t()
            logits @ self.head


MAKERS = {
    "ours": Ours,
    "ours, half recomputed": lambda: Ours(0.5),
    "ours, all recomputed": lambda: Ours(1.0),
    "padded": lambda: Peft(flatten=False),
    "flattened": lambda: Peft(flatten=True),
}


def peak_bytes(name: str, tokens: int) -> int:
    """Peak resident memory of a step beyond that of the model and a first small step."""
    subject, texts = MAKERS[name](), documents(tokens)
    subject.step(texts[:1])
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    subject.step(texts)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident


def tokens_per_second(tokens: int, updates: int = 3) -> float:
    """Median of updates after a first one, by the training loop, on all processes there are."""
    texts, records = documents(tokens), []
    examples = [Example(ids[:1], ids[1:]) for ids in texts]
    policy = Policy(resolve_model(), DTYPE)
    settings = FitSettings(RATE, epochs=updates + 1, batch_tokens=tokens, micro_tokens=tokens)
    fit(
        policy.decoder,
        policy.begin_phase(RANK, ALPHA, seed=0),
        examples,
        settings,
        0,
        records.append,
    )
    return statistics.median(record["tokens_per_second"] for record in records[1:])


if __name__ == "__main__":
    if sys.argv[1] == "memory":
        print(peak_bytes(sys.argv[2], int(sys.argv[3])))
    else:
        with distributed.process_group(600):
            rate = tokens_per_second(int(sys.argv[2]))
            if distributed.rank() == 0:
                print(rate)
