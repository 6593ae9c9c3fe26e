"""A judge on this machine, against transformers."""

import math

import numpy as np
import pytest
import torch
from byte_model import save_byte_model

from dftfast.endpoint import AnswerCache
from dftfast.evaluation.judge import LocalJudge, judge_record, judge_systems
from dftfast.evaluation.judge.questions import Item


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_byte_model(tmp_path_factory.mktemp("model"))


def test_local_judge_is_what_transformers_computes(model, tmp_path, sets):
    """Log-odds of A against B after the question, in one question and in many at once, twice from
    disk."""
    import transformers

    items = [
        Item(q, "Tea", a, b)
        for q in ("jmq", "jmq_depth")
        for a, b in (("Short.", "A longer text."), ("A longer text.", "Short."), ("x", "y"))
    ]
    local = LocalJudge("small", str(model), AnswerCache(tmp_path / "a.jsonl"), "cpu")
    log_odds = local.preferences(items)
    reference = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    a, b = (tokenizer.encode(x, add_special_tokens=False)[0] for x in "AB")
    for item, value in zip(items, log_odds):
        text = tokenizer.apply_chat_template(
            item.messages(), tokenize=False, add_generation_prompt=True
        )
        logits = reference(torch.tensor([tokenizer.encode(text, add_special_tokens=False)])).logits[
            0, -1
        ]
        assert value == pytest.approx(
            (logits[a] - logits[b]).item(), abs=0.15
        )  # bfloat16 where the processor has it
    again = LocalJudge("small", str(model), AnswerCache(tmp_path / "a.jsonl"), "cpu")
    again._log_odds = lambda items: [] if not items else pytest.fail("asked again")
    assert again.preferences(items).tolist() == log_odds.tolist()


def test_local_judge_sees_both_orders_and_leaves_out_what_is_too_long(model, tmp_path, sets):
    human, outputs = sets(12, 0), sets(12, 1)
    outputs.texts[5] = "word " * 1000
    local = LocalJudge("small", str(model), AnswerCache(tmp_path / "a.jsonl"), "cpu")
    judged = judge_systems(local, {"x": outputs}, human, ["jmq"])
    wins = judged.wins["x"]["jmq"]
    assert (
        judged.both_orders
        and math.isnan(wins[5])
        and local.unanswered == 2
        and np.isfinite(np.delete(wins, 5)).all()
    )
    values = dict(
        zip(
            range(12),
            local.preferences(
                [
                    Item("jmq", "Prompt 0", outputs.texts[0], human.texts[0]),
                    Item("jmq", "Prompt 0", human.texts[0], outputs.texts[0]),
                ]
            ),
        )
    )
    assert wins[0] == float(values[0] - values[1] > 0)
    record = judge_record(judged, 50, 0)
    assert (
        record["calls"] is None
        and record["where"] == "this machine"
        and record["systems"]["x"]["verdicts"]["jmq"] == 11
    )
