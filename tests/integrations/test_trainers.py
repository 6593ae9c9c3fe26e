"""The discrepancies in TRL's GRPOTrainer, and transformers' Trainer example, on tiny models."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
import tokenizers
import torch
import transformers
from families import save_random_model

from dftfast.distribution.energy import LengthEnergy
from dftfast.distribution.mmd import MMD, StyleMMD
from dftfast.distribution.ngram_l2 import NGramL2
from dftfast.integrations.transformers import apply
from dftfast.integrations.trl import DiscrepancyReward
from dftfast.model.embedder import Embedder

HUMAN = [f"A short text, number {i}, that a person wrote. It has two sentences." for i in range(40)]
EXAMPLE = Path(__file__).parents[2] / "examples" / "transformers_trainer.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random Qwen3 with a byte-level tokenizer of 259 entries."""
    folder = tmp_path_factory.mktemp("model")
    save_random_model("qwen3", folder)
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: i for i, token in enumerate(["<pad>", "<start>", "<end>", *alphabet])}
    core = tokenizers.Tokenizer(tokenizers.models.BPE(vocab, []))
    core.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = tokenizers.decoders.ByteLevel()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="<end>"
    )
    fast.save_pretrained(folder)
    return folder


def test_rewards_prefer_what_is_missing():
    embed = Embedder("character-ngrams").encode
    for reward in (
        DiscrepancyReward(MMD(), HUMAN, embed=embed),
        DiscrepancyReward(StyleMMD(), HUMAN),
        DiscrepancyReward(NGramL2(256), HUMAN, tokenize=lambda text: list(text.encode())),
        DiscrepancyReward(LengthEnergy(), HUMAN, tokenize=lambda text: list(text.encode())),
    ):
        odd = ["?!" * 90] * 7
        values = reward([""] * 8, [*odd, [{"role": "assistant", "content": HUMAN[3]}]])
        assert len(values) == 8 and values[-1] > max(values[:-1]), reward.__name__


def test_grpo_trainer_takes_the_rewards(folder, tmp_path):
    trl = pytest.importorskip("trl")
    from datasets import Dataset

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    rewards = [
        DiscrepancyReward(MMD(), HUMAN, embed=Embedder("character-ngrams").encode),
        DiscrepancyReward(NGramL2(tokenizer.vocab_size), HUMAN, tokenize=tokenizer.encode),
    ]
    settings = trl.GRPOConfig(
        str(tmp_path),
        per_device_train_batch_size=4,
        num_generations=4,
        max_completion_length=8,
        max_steps=2,
        report_to="none",
        logging_steps=1,
        save_strategy="no",
        use_cpu=True,
        bf16=False,
    )
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    before = model.model.layers[0].mlp.down_proj.weight.detach().clone()
    data = Dataset.from_dict({"prompt": ["Write:", "Say:"] * 4})
    trainer = trl.GRPOTrainer(model, rewards, settings, data, processing_class=tokenizer)
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "rewards/MMD reward/mean" in entry]
    assert logged and all("rewards/NGramL2 reward/mean" in entry for entry in logged)
    assert not torch.equal(
        trainer.model.model.layers[0].mlp.down_proj.weight.detach().cpu(), before
    )


def test_example_trainer_has_the_loss_of_trainer(folder, tmp_path):
    pytest.importorskip("datasets")
    example = runpy.run_path(str(EXAMPLE))
    texts = tmp_path / "texts.jsonl"
    texts.write_text("".join(json.dumps({"text": text}) + "\n" for text in HUMAN))
    options = dict(logging_steps=1, save_strategy="no", use_cpu=True, seed=0, learning_rate=1e-3)
    ours = example["main"](str(folder), str(texts), str(tmp_path / "a"), **options)
    plain = transformers.Trainer(
        model=transformers.AutoModelForCausalLM.from_pretrained(folder),
        args=transformers.TrainingArguments(
            str(tmp_path / "b"),
            per_device_train_batch_size=8,
            num_train_epochs=1,
            report_to="none",
            **options,
        ),
        train_dataset=ours.train_dataset,
        data_collator=ours.data_collator,
    )
    plain.train()
    losses = [
        [e["loss"] for e in trainer.state.log_history if "loss" in e] for trainer in (ours, plain)
    ]
    assert len(losses[0]) == 5 and losses[0][-1] < losses[0][0]
    assert losses[0] == pytest.approx(losses[1], abs=2e-3)


def losses_of(make_trainer, folder, tmp_path, computed_by_dftfast: bool) -> list[float]:
    transformers.set_seed(0)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    if computed_by_dftfast:
        apply(model)
    trainer = make_trainer(model, tmp_path / str(computed_by_dftfast))
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def plain_trainer(model, out):
    from datasets import Dataset

    tokenizer = transformers.AutoTokenizer.from_pretrained(model.name_or_path)
    data = Dataset.from_dict({"input_ids": [tokenizer(text).input_ids for text in HUMAN]})
    arguments = transformers.TrainingArguments(str(out), bf16=True, **SHORT)
    collator = transformers.DataCollatorForLanguageModeling(tokenizer, mlm=False)
    return transformers.Trainer(model, arguments, collator, data)


def sft_trainer(model, out):
    import trl
    from datasets import Dataset

    tokenizer = transformers.AutoTokenizer.from_pretrained(model.name_or_path)
    arguments = trl.SFTConfig(str(out), bf16=True, max_length=64, **SHORT)
    data = Dataset.from_dict({"text": HUMAN})
    return trl.SFTTrainer(model, arguments, train_dataset=data, processing_class=tokenizer)


def grpo_trainer(model, out):
    import trl
    from datasets import Dataset

    tokenizer = transformers.AutoTokenizer.from_pretrained(model.name_or_path)
    arguments = trl.GRPOConfig(
        str(out), num_generations=4, max_completion_length=8, beta=0.04, bf16=False, **SHORT
    )
    reward = DiscrepancyReward(LengthEnergy(), HUMAN, tokenize=tokenizer.encode)
    data = Dataset.from_dict({"prompt": ["Write:", "Say:"] * 4})
    return trl.GRPOTrainer(model, [reward], arguments, data, processing_class=tokenizer)


SHORT = {
    "per_device_train_batch_size": 8,
    "max_steps": 3,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "use_cpu": True,
    "seed": 0,
    "learning_rate": 1e-3,
}


@pytest.mark.parametrize(
    "make_trainer, tolerance", [(plain_trainer, 2e-2), (sft_trainer, 2e-2), (grpo_trainer, 1e-4)]
)
def test_trainers_have_the_losses_of_a_model_that_computes_by_dftfast(
    make_trainer, tolerance, folder, tmp_path
):
    pytest.importorskip("trl")
    theirs = losses_of(make_trainer, folder, tmp_path, False)
    ours = losses_of(make_trainer, folder, tmp_path, True)
    assert len(ours) == len(theirs) == 3
    assert ours == pytest.approx(theirs, abs=tolerance)
