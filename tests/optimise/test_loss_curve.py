"""Fifty updates in fp32 have the losses of transformers + PEFT with torch's own AdamW."""

from __future__ import annotations

import math
import random

import peft
import pytest
import torch
import transformers
from families import save_random_model

from dftfast.data import docstring_corpus, load_corpus
from dftfast.model.lora import adapter_tensors
from dftfast.model.policy import Policy
from dftfast.model.pretrained import resolve_model
from dftfast.model.tokenizer import Tokenizer
from dftfast.optimise.fit import FitSettings, fit
from dftfast.optimise.packing import Example, batches

RANK, ALPHA, STEPS = 4, 8, 50


def our_losses(folder, examples, settings):
    """The losses, and the adapter at the start."""
    policy, losses = Policy(folder, torch.float32), []
    parameters = policy.begin_phase(RANK, ALPHA, seed=0)
    start = adapter_tensors(policy.decoder)
    fit(
        policy.decoder,
        parameters,
        examples,
        settings,
        seed=3,
        log=lambda record: losses.append(record["loss"]),
    )
    return losses, start


def their_losses(model, start, examples, settings):
    """The same plan, a document at a time."""
    config = peft.LoraConfig(
        r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules="all-linear"
    )
    model = peft.get_peft_model(model, config)
    state = {name.replace(".weight", ".default.weight"): tensor for name, tensor in start.items()}
    assert not model.load_state_dict(state, strict=False).unexpected_keys
    plan = list(batches(examples, settings.batch_tokens, settings.epochs, seed=3))
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        trained, lr=settings.learning_rate, betas=(0.9, 0.99), weight_decay=0.0
    )
    warmup = round(settings.warmup * len(plan))

    def rate(step):
        return (
            (step + 1) / warmup
            if step < warmup
            else 0.5 + 0.5 * math.cos(math.pi * (step - warmup) / (len(plan) - warmup))
        )

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rate)
    losses = []
    for batch in plan:
        count, total = sum(len(example.completion) for example in batch), 0.0
        for example in batch:
            ids = torch.tensor([example.prompt + example.completion])
            labels = torch.tensor([[-100] * len(example.prompt) + example.completion])
            loss = model(ids, labels=labels).loss * len(example.completion) / count
            loss.backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(trained, settings.grad_clip)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        losses.append(total)
    return losses


def compare(folder, model, examples, settings, learnt):
    losses, start = our_losses(folder, examples, settings)
    expected = their_losses(model, start, examples, settings)
    assert len(losses) == len(expected) >= STEPS
    assert sum(losses[:5]) - sum(losses[-5:]) > 5 * learnt
    assert max(abs(mine - theirs) for mine, theirs in zip(losses, expected)) < 1e-3


@pytest.mark.parametrize("family", ["qwen3", "llama"])
def test_loss_curve_equals_peft(family, tmp_path):
    model = save_random_model(family, tmp_path)
    rng = random.Random(0)
    lengths = [(rng.randint(1, 6), rng.randint(2, 12)) for _ in range(60)]
    examples = [
        Example(*([rng.randrange(3, 259) for _ in range(length)] for length in pair))
        for pair in lengths
    ]
    compare(
        tmp_path,
        model,
        examples,
        FitSettings(1e-2, epochs=7, batch_tokens=80, micro_tokens=50),
        learnt=0.05,
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_loss_curve_of_the_default_model_equals_peft():
    folder = resolve_model()
    texts = [document.text for document in load_corpus([docstring_corpus()], limit=400)]
    documents = [
        ids for ids in Tokenizer.from_folder(folder).encode_batch(texts) if 20 <= len(ids) <= 60
    ]
    examples = [Example(ids[:5], ids[5:]) for ids in documents[:90]]
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    compare(
        folder,
        model,
        examples,
        FitSettings(1e-3, epochs=1, batch_tokens=100, micro_tokens=100),
        learnt=0.05,
    )
