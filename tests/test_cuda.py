"""The decoder, its training step and the rollout engine on a CUDA card, beside those of the CPU."""

from __future__ import annotations

import pytest
import torch
from byte_model import save_byte_model

from dftfast.model.lora import add_adapter
from dftfast.model.weights import load_decoder
from dftfast.optimise.fit import backward
from dftfast.optimise.likelihood import likelihood
from dftfast.optimise.optimiser import Optimiser
from dftfast.optimise.packing import Example, pack
from dftfast.rollout import Request, RolloutEngine, Sampler

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
PROMPTS = [list(range(3, 3 + n)) for n in (1, 7, 16, 17, 40)]


@pytest.fixture
def decoders(tmp_path):
    """The same weights on the CPU and on the card, fp32."""
    torch.backends.cuda.matmul.allow_tf32 = False
    folder = save_byte_model(tmp_path / "model", context=256)
    return tuple(load_decoder(folder, torch.float32, device) for device in ("cpu", "cuda"))


def adapter(decoder):
    """A new adapter that is not zero."""
    parameters = add_adapter(decoder, 4, 8, seed=0)
    for parameter in parameters:
        parameter.data.add_(0.02)
    return parameters


def test_loss_gradients_and_update_are_those_of_the_cpu(decoders):
    both = [adapter(decoder) for decoder in decoders]
    batch = pack(
        [Example(PROMPTS[i % 3], list(range(50, 60 + i)), weight=1 - 0.3 * i) for i in range(6)]
    )
    values = [backward(d, batch.to(d.embed.device), 1 / 60, likelihood) for d in decoders]
    assert values[1] == pytest.approx(values[0], rel=1e-4)
    for cpu, cuda in zip(*both):
        torch.testing.assert_close(
            cuda.grad.cpu(), cpu.grad, rtol=1e-2, atol=2e-4 * cpu.grad.abs().max().item()
        )
    for parameters in both:
        Optimiser(parameters, 1e-3, total_steps=10).step()
    for cpu, cuda in zip(*both):
        assert (cuda.detach().cpu() - cpu.detach()).abs().mean() < 1e-5


@pytest.mark.parametrize("max_sequences", [3, 64])
def test_sampling_is_that_of_the_cpu(decoders, max_sequences):
    """Greedy, and by random numbers of the request alone; decode steps are replayed from graphs."""
    samplers = [
        Sampler(temperature=0, max_tokens=30),
        Sampler(max_tokens=30),
        Sampler(0.8, 5, 0.9, max_tokens=30),
    ]
    requests = [
        Request(3 * i + k, prompt, s, n=2)
        for i, prompt in enumerate(PROMPTS)
        for k, s in enumerate(samplers)
    ]
    cpu, cuda = (
        RolloutEngine(d, cache_tokens=4096, max_sequences=max_sequences).generate(requests)
        for d in decoders
    )
    same = sum(cpu.output(i) == cuda.output(i) for i in range(len(cpu)))
    assert same >= 0.9 * len(cpu)  # a draw on the border between two tokens may fall either way
    assert cuda.agreement.max < 1e-3


def test_graphs_follow_the_weights(decoders):
    _, decoder = decoders
    engine = RolloutEngine(decoder, cache_tokens=4096, agreement_samples=8)
    requests = [Request(i, prompt, Sampler(max_tokens=20)) for i, prompt in enumerate(PROMPTS)]
    before = engine.generate(requests)
    parameters = adapter(decoder)
    decoder.version += 1
    adapted = engine.generate(requests)  # other tensors: recorded anew
    for parameter in parameters:
        parameter.data.mul_(1.5)
    decoder.version += 1
    moved = engine.generate(requests)  # the same tensors, other values: replayed as they are
    assert len({tuple(batch.tokens.tolist()) for batch in (before, adapted, moved)}) == 3
    assert all(batch.agreement.max < 1e-3 for batch in (before, adapted, moved))


def test_bf16_rollout_agrees_with_the_training_forward(decoders):
    _, decoder = decoders
    decoder.to(torch.bfloat16)
    engine = RolloutEngine(decoder, cache_tokens=4096, agreement_samples=8)
    batch = engine.generate(
        [Request(i, prompt, Sampler(max_tokens=40), n=4) for i, prompt in enumerate(PROMPTS)]
    )
    assert batch.agreement.mean < 0.1 and torch.isfinite(batch.entropies).all()
