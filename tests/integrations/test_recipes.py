"""The losses of docs/recipes.md, run from that page, beside TRL's own code on the same batch."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import transformers
from byte_model import save_byte_model

trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"
SETTINGS = {"report_to": "none", "use_cpu": True, "bf16": False, "per_device_train_batch_size": 4}


@pytest.fixture(scope="module")
def recipes():
    found: dict = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, PAGE.name, "exec"), found)
    return SimpleNamespace(**found)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_byte_model(tmp_path_factory.mktemp("model") / "bytes")


@pytest.fixture
def parts(folder):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    return model, transformers.AutoTokenizer.from_pretrained(folder, pad_token="<pad>")


def moved(model) -> None:
    """Away from the reference model, so that ratios are not 1."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter) * parameter.abs().mean())


def assert_same_loss_and_gradients(model, ours, theirs) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    layer = model.model.layers[0]
    wanted = [model.lm_head.weight, layer.mlp.down_proj.weight, layer.self_attn.q_norm.weight]
    gradients = [torch.autograd.grad(loss, wanted, retain_graph=True) for loss in (ours, theirs)]
    for a, b in zip(*gradients):
        assert b.any()
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * float(b.abs().max()))


def hidden_of(model, tokens, mask):
    return model.model(input_ids=tokens, attention_mask=mask).last_hidden_state


def test_dpo(recipes, parts, tmp_path):
    model, tokenizer = parts
    rows = [
        {"prompt": f"Note {i}:", "chosen": f" a better end {i}", "rejected": " worse" * (1 + i % 2)}
        for i in range(4)
    ]
    trainer = trl.DPOTrainer(
        model,
        args=trl.DPOConfig(str(tmp_path), beta=0.3, **SETTINGS),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    moved(trainer.model)
    batch = next(iter(trainer.get_train_dataloader()))
    theirs = trainer.compute_loss(trainer.model, dict(batch))
    tokens, mask = batch["input_ids"], batch["attention_mask"]
    labels = tokens.masked_fill(batch["completion_mask"] == 0, -100)
    with torch.no_grad():
        base = transformers.AutoModelForCausalLM.from_pretrained(model.name_or_path).eval()
        hidden = hidden_of(base, tokens, mask)
        reference = recipes.log_probabilities(hidden, base.lm_head.weight, labels).sum(1)
    hidden = hidden_of(trainer.model, tokens, mask)
    ours = recipes.dpo_loss(hidden, trainer.model.lm_head.weight, labels, reference, beta=0.3)
    assert abs(theirs - 0.6931) > 1e-3
    assert_same_loss_and_gradients(trainer.model, ours, theirs)


def test_grpo(recipes, parts, tmp_path):
    model, tokenizer = parts
    arguments = trl.GRPOConfig(
        str(tmp_path),
        num_generations=4,
        loss_type="grpo",
        beta=0.04,
        epsilon=0.2,
        use_bias_correction_kl=False,
        **SETTINGS,
    )
    trainer = trl.GRPOTrainer(
        model,
        [lambda completions, **_: [0.0] * len(completions)],
        arguments,
        datasets.Dataset.from_dict({"prompt": ["Write:"] * 4}),
        processing_class=tokenizer,
    )
    g = torch.Generator().manual_seed(0)
    prompt, completion = (torch.randint(3, 250, (4, n), generator=g) for n in (5, 8))
    lengths = torch.tensor([8, 3, 5, 8])
    scored = (torch.arange(8) < lengths[:, None]).long()
    draw = lambda: 0.2 * torch.randn(4, 8, generator=g)
    with torch.no_grad():
        tokens, mask = torch.cat([prompt, completion], 1), torch.cat([prompt > 0, scored > 0], 1)
        labels = tokens.masked_fill(~mask, -100)
        labels[:, :5] = -100
        hidden = hidden_of(model, tokens, mask.long())
        now = recipes.log_probabilities(hidden, model.lm_head.weight, labels)
        old, reference = (now + torch.nn.functional.pad(draw(), (4, 1)) for _ in range(2))
    advantages = torch.tensor([1.0, -0.5, 0.3, -1.2])
    inputs = {
        "prompt_ids": prompt,
        "prompt_mask": torch.ones_like(prompt),
        "completion_ids": completion,
        "completion_mask": scored,
        "advantages": advantages,
        "old_per_token_logps": old[:, 4:-1],
        "ref_per_token_logps": reference[:, 4:-1],
        "num_items_in_batch": scored.sum(),
    }
    trainer.model.eval()
    theirs = trainer._compute_loss(trainer.model, inputs)
    hidden = hidden_of(trainer.model, tokens, mask.long())
    weight = trainer.model.lm_head.weight
    ours = recipes.grpo_loss(hidden, weight, labels, advantages, old, reference)
    assert_same_loss_and_gradients(trainer.model, ours, theirs)


def logits_of(parts):
    """(model, hidden states, logits, the teacher's log-probabilities, labels) of one batch."""
    model, _ = parts
    g = torch.Generator().manual_seed(0)
    tokens = torch.randint(3, 250, (3, 9), generator=g)
    labels = tokens.masked_fill(torch.rand(3, 9, generator=g) < 0.4, -100)
    hidden = hidden_of(model, tokens, torch.ones_like(tokens))
    logits = model.lm_head(hidden)
    teacher = (logits.detach() + 0.7 * torch.randn(logits.shape, generator=g)).log_softmax(-1)
    return model, hidden, logits, teacher, labels


def test_distillation_over_the_whole_vocabulary(recipes, parts):
    from trl.experimental.gkd import GKDTrainer

    model, hidden, logits, teacher, labels = logits_of(parts)
    theirs = GKDTrainer.generalized_jsd_loss(logits, teacher, labels=labels, beta=0.0)
    scored = labels != -100
    p, words = teacher[scored].sort(descending=True)
    ours = recipes.distillation_loss(hidden[scored], model.lm_head.weight, words, p)
    assert_same_loss_and_gradients(model, ours, theirs)


@pytest.mark.parametrize("k", [1, 5])
def test_distillation_over_the_teachers_top_words(recipes, parts, k):
    from trl.experimental.server_distillation import ServerDistillationTrainer as Server

    model, hidden, logits, teacher, labels = logits_of(parts)
    p, words = teacher.topk(k)
    settings = SimpleNamespace(
        loss_add_tail=True, _reduce_divergence_loss=Server._reduce_divergence_loss
    )
    answer = {"topk_logprobs": p, "topk_token_ids": words}
    theirs = Server._compute_server_forward_kl_loss(
        settings, answer, logits.log_softmax(-1), labels
    )
    scored = labels != -100
    ours = recipes.distillation_loss(hidden[scored], model.lm_head.weight, words[scored], p[scored])
    assert_same_loss_and_gradients(model, ours, theirs)
