"""Every example runs: the smallest sizes, a tiny random model where the model does not matter."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
import torch
from byte_model import save_byte_model

README = Path(__file__).parents[2] / "README.md"
EXAMPLES = Path(__file__).parents[2] / "examples"
TESTED = {"minimal", "custom_corpus", "custom_discrepancy", "rollout_only", "grpo_reward"}
ELSEWHERE = {"transformers_trainer"}  # tests/integrations/test_trainers.py


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_byte_model(tmp_path_factory.mktemp("model") / "bytes")


def example(name):
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]


def test_every_example_is_tested():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == TESTED | ELSEWHERE


def test_minimal(capsys, model):
    small = {"texts": 40, "prompts": 12, "n": 2}
    distances = example("minimal")(**small, model=str(model), embedder="character-ngrams")
    assert len(distances) == 2 and all(abs(value) < 1 for value in distances)
    assert "after one phase" in capsys.readouterr().out


def test_minimal_is_short():
    code = (EXAMPLES / "minimal.py").read_text(encoding="utf-8").partition("def main")[2]
    assert len(code.splitlines()) < 60


def test_custom_corpus(tmp_path, model):
    small = [
        ("model.name", str(model)),
        ("evaluation.embedder", "character-ngrams"),
        ("data.held_out_share", "0.2"),
        ("data.validation_share", "0.2"),
    ]
    folder = example("custom_corpus")(str(tmp_path), *small)
    assert folder == tmp_path / "run" and (folder / "report.html").is_file()


def test_custom_discrepancy():
    assert all("!" not in text for text in example("custom_discrepancy")())


def test_rollout_only(model):
    assert len(example("rollout_only")(str(model), samples=3, max_tokens=5)) == 6


def test_grpo_reward(tmp_path, model):
    pytest.importorskip("trl")
    texts = tmp_path / "texts.jsonl"
    rows = [{"prompt": f"Note {i}:", "text": f"People wrote note {i}."} for i in range(8)]
    texts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    trainer = example("grpo_reward")(
        str(model),
        str(texts),
        str(tmp_path / "out"),
        embedder="character-ngrams",
        per_device_train_batch_size=4,
        num_generations=4,
        max_completion_length=6,
        max_steps=1,
        logging_steps=1,
        save_strategy="no",
        use_cpu=True,
        bf16=False,
    )
    assert any("rewards/MMD reward/mean" in entry for entry in trainer.state.log_history)


def test_the_readmes_trainer(model):
    """Its lines as they stand there, with a model that is at hand."""
    section = README.read_text(encoding="utf-8").partition("### In your own trainer")[2]
    code = section.partition("```python")[2].partition("```")[0]
    assert "Qwen/Qwen3-0.6B" in code
    found: dict = {}
    exec(code.replace("Qwen/Qwen3-0.6B", str(model)), found)
    tokens = torch.arange(5, 14)[None]
    output = found["model"].train()(input_ids=tokens, labels=tokens)
    assert output.loss.isfinite() and output.logits is None
