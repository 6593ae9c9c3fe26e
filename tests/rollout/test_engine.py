"""The engine end to end on small random models: against transformers and under pressure."""

from __future__ import annotations

import ast
import dataclasses
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dftfast.rollout import Request, RolloutEngine, Sampler, agreement

from .models import outputs, random_prompt, requests_for_fuzz, tiny_decoder, tiny_reference


class SmallBlocks(RolloutEngine):
    block_size = 4


@pytest.mark.parametrize("family", ["qwen3", "llama"])
def test_greedy_equals_transformers_generate(family, tmp_path):
    decoder, reference = tiny_reference(family, tmp_path)
    prompts = [
        random_prompt(length, reference.config.vocab_size, length) for length in (1, 7, 16, 17, 40)
    ]
    engine = RolloutEngine(decoder, cache_tokens=1024, max_step_tokens=24)
    greedy = Sampler(temperature=0, max_tokens=24)
    batch = engine.generate([Request(i, prompt, greedy) for i, prompt in enumerate(prompts)])
    for i, prompt in enumerate(prompts):
        ids = torch.tensor([prompt])
        with torch.no_grad():
            expected = reference.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False
            )
        assert batch.output(i) == expected[0, len(prompt) :].tolist()


def test_logprobs_and_entropies_are_those_of_the_model(tmp_path):
    decoder, reference = tiny_reference("qwen3", tmp_path)
    settings = [
        Sampler(max_tokens=12),
        Sampler(max_tokens=12, temperature=0.7, banned_token_ids=(1, 2, 3)),
    ]
    prompt = random_prompt(11, reference.config.vocab_size, 0)
    batch = RolloutEngine(decoder, cache_tokens=512).generate(
        [Request(i, prompt, s) for i, s in enumerate(settings)]
    )
    for i, sampler in enumerate(settings):
        output = batch.output(i)
        with torch.no_grad():
            logits = (
                reference(torch.tensor([prompt + output])).logits[0, len(prompt) - 1 : -1].double()
            )
        model, drawn = logits.log_softmax(-1), logits.clone()
        drawn[:, list(sampler.banned_token_ids)] = -torch.inf
        drawn = (drawn / sampler.temperature).log_softmax(-1)
        part, at = slice(batch.offsets[i], batch.offsets[i + 1]), torch.tensor(output)[:, None]
        close = {"rtol": 0, "atol": 2e-5, "check_dtype": False}
        torch.testing.assert_close(batch.logprobs[part], model.gather(1, at)[:, 0], **close)
        torch.testing.assert_close(batch.sampler_logprobs[part], drawn.gather(1, at)[:, 0], **close)
        torch.testing.assert_close(batch.entropies[part], -(model.exp() * model).sum(-1), **close)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_samples_do_not_depend_on_batch_order_preemption_or_processes(dtype):
    decoder = tiny_decoder("qwen3", dtype)
    requests = requests_for_fuzz(0, 24, decoder.config.vocab_size)
    alone = {}
    engine = RolloutEngine(decoder, cache_tokens=1024)
    for request in requests:
        engine.release()  # nothing of the earlier requests is reused
        alone.update(outputs(engine.generate([request])))
    others = requests_for_fuzz(1, 460, decoder.config.vocab_size)
    company = [dataclasses.replace(request, id=1000 + request.id) for request in others]
    together = RolloutEngine(decoder, cache_tokens=1 << 16, max_sequences=512, max_step_tokens=4096)
    mixed = outputs(together.generate(requests + company))
    assert len(mixed) > 512 and {key: mixed[key] for key in alone} == alone
    tight = RolloutEngine(decoder, cache_tokens=80, max_sequences=16, max_step_tokens=19)
    assert outputs(tight.generate(requests[::-1])) == alone
    assert tight.scheduler.preemptions > 0
    script = Path(__file__).with_name("half_of_the_requests.py")
    commands = [
        [sys.executable, script, str(dtype).removeprefix("torch."), str(part)] for part in range(2)
    ]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands
    ]
    halves = [ast.literal_eval(process.communicate(timeout=120)[0]) for process in processes]
    assert halves[0] | halves[1] == alone


def test_what_has_nothing_cached_attends_to_its_own_keys(monkeypatch):
    """Prompts without a cached prefix take the training kernel, the others the paged one."""
    from dftfast.rollout import paged

    calls = []

    def spy(name):
        function = getattr(paged, name)

        def called(q, *rest):
            calls.append((name, len(q)))
            return function(q, *rest)

        monkeypatch.setattr(paged, name, called)

    spy("causal_attention")
    spy("paged_attention")
    decoder = tiny_decoder("qwen3", torch.float32)
    engine = SmallBlocks(decoder, cache_tokens=512, max_step_tokens=30, max_sequences=4)
    prompts = [random_prompt(n, decoder.config.vocab_size, n) for n in (9, 50)]
    engine.generate([Request(i, p, Sampler(max_tokens=3)) for i, p in enumerate(prompts)])
    steps = calls[:: decoder.config.num_layers]
    assert steps[0] == ("causal_attention", 30)  # 9 of one prompt and 21 of the other
    assert steps[1] == ("paged_attention", 30)  # a sampled token and the rest of that prompt
    calls.clear()
    engine.generate([Request(7, prompts[1], Sampler(max_tokens=1))])
    assert {name for name, _ in calls} == {"paged_attention"}  # its prefix is found in the cache


def test_fuzz_with_a_cache_that_is_nearly_too_small():
    decoder = tiny_decoder("llama", torch.float32)
    for seed in range(6):
        requests = requests_for_fuzz(seed, 20, decoder.config.vocab_size)
        needed = max(len(r.prompt) + r.sampler.max_tokens - 1 for r in requests)
        rng = random.Random(seed)
        engine = SmallBlocks(
            decoder,
            cache_tokens=-(-needed // 4) * 4 + 4 * rng.randint(0, 3),
            max_sequences=rng.choice([2, 5, 16]),
            max_step_tokens=rng.choice([1, 8, 64]),
        )
        batch = engine.generate(requests)
        assert len(batch) == sum(request.n for request in requests)
        assert batch.finish_reason == ["length"] * len(batch)
        limits = torch.tensor([r.sampler.max_tokens for r in requests for _ in range(r.n)])
        assert torch.equal(batch.offsets.diff(), limits)
        for i, request in enumerate(r for r in requests for _ in range(r.n)):
            assert not set(batch.output(i)) & set(request.sampler.banned_token_ids)
        assert engine.scheduler.pool.num_free == engine.scheduler.pool.size


def test_results_come_in_request_order_with_their_prompts():
    decoder = tiny_decoder("llama", torch.float32)
    requests = [Request(10 - i, [i, i + 1], Sampler(max_tokens=1 + i), n=2) for i in range(3)]
    batch = RolloutEngine(decoder, cache_tokens=256).generate(requests)
    assert batch.request.tolist() == [10, 10, 9, 9, 8, 8]
    assert batch.sample.tolist() == [0, 1] * 3
    assert batch.prompt_tokens.tolist() == [0, 1, 0, 1, 1, 2, 1, 2, 2, 3, 2, 3]
    assert batch.prompt_offsets.tolist() == [0, 2, 4, 6, 8, 10, 12]
    assert batch.offsets.tolist() == [0, 1, 2, 4, 6, 9, 12]
    assert batch.cut_share == 1


def test_end_tokens_stop_and_min_tokens_hold_them_back():
    decoder = tiny_decoder("llama", torch.float32)
    free = (
        RolloutEngine(decoder, cache_tokens=256)
        .generate([Request(0, [5], Sampler(max_tokens=30))])
        .output(0)
    )
    stop = free[9]
    first = free.index(stop)
    engine = RolloutEngine(decoder, cache_tokens=256)
    stopped = engine.generate([Request(0, [5], Sampler(max_tokens=30, stop_token_ids=[stop]))])
    assert (
        stopped.output(0) == free[: first + 1]
        and stopped.finish_reason == ["stop"]
        and stopped.cut_share == 0
    )
    held = Sampler(max_tokens=30, stop_token_ids=[stop], min_tokens=20)
    later = engine.generate([Request(0, [5], held)])
    assert stop not in later.output(0)[:20]
    assert len(later.output(0)) >= 20


class Letters:
    """A tokenizer of one letter a token, and of the two bytes of é apart."""

    eos_ids = (0,)
    special_ids = (0,)

    def decode(self, ids):
        pieces = [b"", *(bytes([97 + i]) for i in range(26)), b"\xc3", b"\xa9"]
        return b"".join(pieces[i % 29] for i in ids).decode("utf-8", errors="replace")


def test_stop_strings_and_streaming():
    decoder = tiny_decoder("llama", torch.float32)
    engine = RolloutEngine(decoder, Letters(), cache_tokens=256)
    whole = list(engine.stream(Request(0, [5], Sampler(max_tokens=25))))
    tokens = [event.token for event in whole]
    assert tokens == engine.generate([Request(0, [5], Sampler(max_tokens=25))]).output(0)
    assert "".join(event.text for event in whole) == Letters().decode(tokens)
    assert [event.finish_reason for event in whole] == [None] * 24 + ["length"]
    text = Letters().decode(tokens)
    start = next(
        i for i in range(8, 20) if text[i : i + 2].isascii() and text.index(text[i : i + 2]) == i
    )
    stop = text[start : start + 2]
    stopped = engine.generate([Request(0, [5], Sampler(max_tokens=25, stop_strings=[stop]))])
    assert Letters().decode(stopped.output(0)).endswith(stop) and stopped.finish_reason == ["stop"]
    assert stopped.output(0) == tokens[: len(stopped.output(0))]


def test_streaming_does_not_split_characters():
    from dftfast.rollout.text import TextStream

    stream = TextStream(Letters())
    assert [stream.add(token) for token in (1, 27, 28, 2)] == ["a", "", "é", "b"]
    assert stream.add(27, last=True) == "\ufffd"


@pytest.mark.parametrize("adapter", [False, True])
@pytest.mark.parametrize("dtype, limit", [(torch.float32, 1e-4), (torch.bfloat16, 0.1)])
def test_sampler_and_training_forward_agree(adapter, dtype, limit):
    from dftfast.model.lora import add_adapter

    decoder = tiny_decoder("qwen3", dtype)
    if adapter:
        add_adapter(decoder, 4, 8, seed=0)
        for layer in decoder.layers:
            torch.nn.init.normal_(layer.qkv.b, std=0.05)
        decoder.version += 1
    requests = requests_for_fuzz(3, 10, decoder.config.vocab_size)
    batch = RolloutEngine(decoder, cache_tokens=1024, agreement_samples=4).generate(requests)
    figures = agreement(decoder, batch)
    assert 0 <= figures.mean <= figures.max < limit
    assert figures.tokens == len(batch.tokens)
    assert 0 < batch.agreement.tokens < figures.tokens


@pytest.mark.slow  # downloads the default model at the first run
def test_greedy_equals_transformers_on_the_default_model():
    from transformers import AutoModelForCausalLM

    from dftfast.model.pretrained import resolve_model
    from dftfast.model.tokenizer import Tokenizer
    from dftfast.model.weights import load_decoder

    folder = resolve_model()
    tokenizer = Tokenizer.from_folder(folder)
    decoder = load_decoder(folder, torch.float32, "cpu")
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    questions = [
        "Write an email that declines an invitation.",
        "Name three rivers.",
        "Tell me a story about a lighthouse.",
    ]
    prompts = [tokenizer.chat([{"role": "user", "content": question}]) for question in questions]
    engine = RolloutEngine(decoder, tokenizer, cache_tokens=1024)
    batch = engine.generate(
        [Request(i, p, Sampler(temperature=0, max_tokens=48)) for i, p in enumerate(prompts)]
    )
    for i, prompt in enumerate(prompts):
        ids = torch.tensor([prompt])
        with torch.no_grad():
            expected = reference.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=48, do_sample=False
            )
        assert batch.output(i) == expected[0, len(prompt) :].tolist()
    assert batch.agreement.max < 1e-3
