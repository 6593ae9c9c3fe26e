"""What a run hands over: merged/ and adapter/, alike to transformers and PEFT."""

from __future__ import annotations

import datetime
import json
import re

import peft
import pytest
import torch
import transformers
from tiny_run import fine_tuned, flags, short_options

from dftfast.config import load_config
from dftfast.data import prompt_messages
from dftfast.pipeline import Run
from dftfast.pipeline.model_card import base_of
from dftfast.pipeline.stage_sft import variant_folder
from dftfast.pipeline.stages import dated
from dftfast.train import main


@pytest.fixture(scope="module")
def base(model, corpus, tmp_path_factory):
    """The tiny model after a fit of all its weights: what adapters can be put on."""
    out = tmp_path_factory.mktemp("base")
    return variant_folder(fine_tuned(model, corpus, out), "full lr=0.01 data=1 epochs=2")


@pytest.fixture(scope="module")
def finished(base, corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    settings = {"sft.method": "lora", "sft.learning_rates": 0.001, "run.checkpoint_steps": 1000}
    settings |= {"dft.bake_temperature": 0.9, "dft.min_p": 0.01, "dft.phases": 1}
    main([*short_options(base, corpus), *flags(settings | {"run.folder": out})])
    return out


def test_merged_and_adapter_are_one_model(finished, base):
    merged = transformers.AutoModelForCausalLM.from_pretrained(finished / "merged")
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    adapted = peft.PeftModel.from_pretrained(model, finished / "adapter")
    config = json.loads((finished / "adapter" / "generation_config.json").read_text())
    tokens = torch.arange(3, 60)[None]
    with torch.no_grad():
        wanted = merged(tokens).logits
        found = adapted(tokens).logits / config["temperature"]
    assert config["temperature"] == 0.9 and config["min_p"] == 0.01
    assert (found - wanted).abs().max() <= 1e-4 * wanted.abs().max()


def test_prompt_ids_are_those_of_the_run(finished):
    job = Run(load_config(files=[finished / "config.yaml"]))
    served = transformers.AutoTokenizer.from_pretrained(finished / "merged")
    for example, document in zip(job.examples(job.held_out), job.held_out):
        chat = prompt_messages(document)
        ids = served.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        assert ids == example.prompt


def test_folders_have_names_for_any_command_line(finished):
    folders = [path.name for path in finished.rglob("*") if (path / "adapter_config.json").exists()]
    assert {"lora-lr0.001-data1-epochs2", "adapter"} <= set(folders)
    assert not any(set(" =") & set(name) for name in folders)


def test_cards_say_how_to_sample(finished):
    merged, adapter = ((finished / f / "README.md").read_text() for f in ("merged", "adapter"))
    assert "temperature 1, top-p 1, top-k off, min-p 0.01" in merged and "vllm serve" in merged
    assert "temperature 0.9" in adapter and "--max-lora-rank " in adapter
    for text in (merged, adapter):
        assert "DFT is better than the best of" in text
        assert re.search("texts, then (no|one) phase of distribution fine-tuning", text)


def test_a_card_names_a_base_that_the_hub_knows_and_no_folder(base):
    assert base_of(str(base)) == (base.name, [])
    assert base_of("Qwen/Qwen3-4B") == ("Qwen/Qwen3-4B", ['base_model: "Qwen/Qwen3-4B"'])
    assert base_of(None)[0] == "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_another_phase_writes_the_result_anew(finished):
    before = (finished / "merged" / "model.safetensors").stat().st_mtime_ns
    main(["--resume", str(finished), "--dft.phases=2"])
    assert (finished / "merged" / "model.safetensors").stat().st_mtime_ns > before
    assert (finished / "merged" / "README.md").exists()


def test_the_day_of_the_prompts_is_that_of_the_first_start(tmp_path):
    folder = ("run.folder", str(tmp_path))
    assert dated(load_config(overrides=[folder])).model.date == datetime.date.today()
    first = load_config(overrides=[folder, ("model.date", "2026-01-31")])
    assert dated(first) == first
    (tmp_path / "config.yaml").write_text(first.to_yaml())
    assert dated(load_config(overrides=[folder])).model.date == datetime.date(2026, 1, 31)
