"""What is exported is prompted and sampled by other tools as it was trained and measured."""

from __future__ import annotations

import datetime
import json

import peft
import pytest
import torch
import transformers
from byte_model import save_byte_model
from families import packed_logits, save_random_model

from dftfast.model.adapter import Adapter, combined, hub_name
from dftfast.model.policy import Policy
from dftfast.model.tokenizer import Tokenizer
from dftfast.runtime.errors import UserError

MESSAGES = [{"role": "user", "content": "Write a note."}]
BODY = "{% for m in messages %}<start>{{ m.role }}\n{{ m.content }}<end>\n{% endfor %}"
HYBRID = BODY + (
    "{% if add_generation_prompt %}<start>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    "{% endif %}"
)
REASONER = BODY + "{% if add_generation_prompt %}{{ '<start>assistant\\n<think>\\n' }}{% endif %}\n"
DATED = "{{ 'Today is ' + strftime_now('%d %b %Y') + '.\n' }}" + BODY
THINKING_ON = "{%- if enable_thinking is not defined %}{% set enable_thinking = true %}{% endif %}"


def model_with(template, folder):
    save_byte_model(folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": template}))
    generation = {"eos_token_id": [2, 0], "temperature": 0.6, "top_k": 20, "top_p": 0.95}
    more = {"repetition_penalty": 1.05, "do_sample": True, "pad_token_id": 0}
    (folder / "generation_config.json").write_text(json.dumps(generation | more))
    return folder


@pytest.mark.parametrize("template", [HYBRID, THINKING_ON + HYBRID, REASONER, DATED, BODY])
def test_prompts_of_transformers_are_those_of_training(template, tmp_path):
    base, day = model_with(template, tmp_path / "base"), datetime.date(2026, 1, 31)
    ours = Tokenizer.from_folder(base, day)
    Policy(base, torch.float32).save(tmp_path / "merged", ours)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "merged")
    trained = ours.chat(MESSAGES)
    served = theirs.apply_chat_template(MESSAGES, add_generation_prompt=True, return_dict=False)
    assert served == trained == Tokenizer.from_folder(tmp_path / "merged").chat(MESSAGES)
    text = ours.render_chat(MESSAGES)
    assert "<think>" not in text or text.endswith("<think>\n\n</think>\n\n")
    assert ("31 Jan 2026" in text) == (template == DATED)
    plain = transformers.AutoTokenizer.from_pretrained(base)
    chat = [*MESSAGES, {"role": "assistant", "content": "Dear all"}]
    if template != DATED:  # all but the answer's beginning is the base's own
        expected = plain.apply_chat_template(chat, tokenize=False)
        assert theirs.apply_chat_template(chat, tokenize=False) == expected


def test_a_template_that_is_settled_stays_as_it_is(tmp_path):
    for number, template in enumerate((HYBRID, REASONER)):
        once = Tokenizer.from_folder(model_with(template, tmp_path / str(number)))
        again = Tokenizer.from_folder(model_with(once.chat_template, tmp_path / f"again-{number}"))
        assert again.chat_template == once.chat_template != template


def test_thinking_can_still_be_asked_of_a_hybrid(tmp_path):
    ours = Tokenizer.from_folder(model_with(HYBRID, tmp_path))
    assert ours.render_chat(MESSAGES, enable_thinking=True).endswith("<start>assistant\n")


def test_the_sampler_is_the_results_own(tmp_path):
    base = model_with(HYBRID, tmp_path / "base")
    Policy(base, torch.float32).save(tmp_path / "merged", min_p=0.02)
    found = transformers.GenerationConfig.from_pretrained(tmp_path / "merged")
    sampler = (found.do_sample, found.temperature, found.top_p, found.top_k, found.min_p)
    assert sampler == (True, 1.0, 1.0, 0, 0.02)
    assert found.eos_token_id == [2, 0] and found.pad_token_id == 0
    assert found.repetition_penalty in (None, 1.0)


def test_weights_keep_the_type_of_the_base(tmp_path):
    base = model_with(HYBRID, tmp_path / "base")
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    model.save_pretrained(base)
    Policy(base, torch.float32).save(tmp_path / "merged")
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert config["dtype"] == "bfloat16"
    sizes = [
        (folder / "model.safetensors").stat().st_size for folder in (base, tmp_path / "merged")
    ]
    assert abs(sizes[0] - sizes[1]) < 4096
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert theirs.dtype == torch.bfloat16
    assert torch.equal(theirs.lm_head.weight, model.lm_head.weight)


@pytest.mark.parametrize("family", ["qwen3", "qwen3-untied", "qwen2"])
def test_adapters_as_one_are_the_merged_model_to_peft(family, tmp_path):
    model = save_random_model(family, tmp_path / "base")
    policy = Policy(tmp_path / "base", torch.float32)
    for rank, seed in ((4, 1), (2, 2), (3, 3)):
        generator = torch.Generator().manual_seed(seed)
        for parameter in policy.begin_phase(rank, 2.0 * rank, seed):
            parameter.data.add_(0.05 * torch.randn(parameter.shape, generator=generator))
        policy.end_phase()
    policy.adapters[1] = Adapter(policy.adapters[1].tensors, 2, 0.5)  # as validation scales it
    policy.temperature = 0.9
    policy.merge_weights()
    policy.save(tmp_path / "merged")
    one = combined(policy.adapters)
    assert one.rank == 9
    one.save(tmp_path / "adapter", tmp_path / "base", 0.9)
    tokens = torch.arange(3, 40)
    merged = type(model).from_pretrained(tmp_path / "merged", dtype=torch.float32)
    with_adapter = peft.PeftModel.from_pretrained(model, tmp_path / "adapter")
    with torch.no_grad():
        wanted, found = merged(tokens[None]).logits[0], with_adapter(tokens[None]).logits[0] / 0.9
        ours = packed_logits(policy.decoder, [tokens])[0]
    assert (found - wanted).abs().max() <= 2e-5 * wanted.abs().max()
    assert (ours - wanted).abs().max() <= 2e-5 * wanted.abs().max()
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["auto_mapping"] == {"sampling_temperature": 0.9}
    again = Adapter.load(tmp_path / "adapter")
    again.check(policy.decoder)


def test_an_adapter_of_one_layer_counts_beside_one_of_all():
    base = "base_model.model.model.layers.0."
    q, k = f"{base}self_attn.q_proj.lora_", f"{base}self_attn.k_proj.lora_"
    first = {f"{q}A.weight": torch.randn(2, 5), f"{q}B.weight": torch.randn(7, 2)}
    second = {f"{k}A.weight": torch.randn(3, 5), f"{k}B.weight": torch.randn(4, 3)}
    second |= {f"{q}A.weight": torch.randn(3, 5), f"{q}B.weight": torch.randn(7, 3)}
    one = combined([Adapter(first, 2, 2.0), Adapter(second, 3, 0.5)]).tensors
    product = lambda tensors, name: tensors[f"{name}B.weight"] @ tensors[f"{name}A.weight"]
    torch.testing.assert_close(product(one, q), 2 * product(first, q) + 0.5 * product(second, q))
    torch.testing.assert_close(product(one, k), 0.5 * product(second, k))


def test_a_snapshot_of_the_hub_is_named_by_its_id(tmp_path):
    snapshot = tmp_path / "models--Qwen--Qwen3-4B" / "snapshots" / "1cfa9a72"
    assert hub_name(snapshot) == ("Qwen/Qwen3-4B", "1cfa9a72")
    assert hub_name(tmp_path) == (str(tmp_path), None)


@pytest.mark.parametrize(
    "field, value",
    [
        ("init_lora_weights", "pissa"),
        ("init_lora_weights", "pissa_niter_4"),
        ("init_lora_weights", "olora"),
        ("init_lora_weights", "corda"),
        ("init_lora_weights", "loftq"),
        ("init_lora_weights", ["pissa"]),
        ("alora_invocation_tokens", [1, 2]),
        ("lora_bias", True),
        ("use_dora", True),
        ("rank_pattern", {"q_proj": 2}),
        ("bias", "all"),
        ("a_field_of_next_year", True),
    ],
)
def test_an_adapter_that_is_more_than_its_product_is_refused(field, value, tmp_path):
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, field: value}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=field):
        Adapter.load(tmp_path)


def test_half_an_adapter_is_named(tmp_path):
    save_random_model("qwen3", tmp_path / "base")
    policy = Policy(tmp_path / "base", torch.float32)
    policy.begin_phase(2, 2, 0)
    adapter = policy.end_phase()
    name = "base_model.model.model.layers.1.self_attn.k_proj.lora_B.weight"
    del adapter.tensors[name]
    with pytest.raises(UserError, match=name.replace(".", r"\.") + " is missing"):
        adapter.check(policy.decoder)
