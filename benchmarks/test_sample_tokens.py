"""One token for each of 64 rows of 49,152 logits.

Beside what transformers' `generate` does to draw them: its chain of logits processors, softmax,
multinomial (which gives no log-probability and no entropy; ours are part of the time).

Bar: 5 with top-p 0.95. `limit/sample_tokens`: share reached of the memory bandwidth, the logits
read once.
"""

from __future__ import annotations

import pytest
import torch
from cpu_limits import bandwidth
from paired import record

from dftfast.kernels import sample_tokens

ROWS, VOCAB = 64, 49_152
CUTS = {
    "plain": {},
    "top-p .95": {"top_p": 0.95},
    "top-k 50, top-p .95, T .8": {"top_k": 50, "top_p": 0.95, "temperature": 0.8},
}


@pytest.mark.parametrize("name", CUTS)
def test_sample_tokens(benchmark, name):
    from transformers.generation import logits_process as hf

    temperature, top_k, top_p = (
        CUTS[name].get(key, off)
        for key, off in (("temperature", 1.0), ("top_k", 0), ("top_p", 1.0))
    )
    logits = 3 * torch.randn(ROWS, VOCAB, generator=torch.Generator().manual_seed(0))
    chain = hf.LogitsProcessorList()
    if temperature != 1:
        chain.append(hf.TemperatureLogitsWarper(temperature))
    if top_k:
        chain.append(hf.TopKLogitsWarper(top_k))
    if top_p < 1:
        chain.append(hf.TopPLogitsWarper(top_p))
    settings = [torch.full((ROWS,), value) for value in (temperature, top_p, 0.0)]
    cuts = (settings[0], torch.full((ROWS,), top_k, dtype=torch.int32), *settings[1:])
    key = torch.arange(ROWS)
    medians = record(
        benchmark,
        {
            "sample_tokens": lambda: sample_tokens(logits, *cuts, key, key, key),
            "transformers": lambda: torch.multinomial(chain(None, logits).softmax(-1), 1),
        },
    )
    share = logits.nbytes / bandwidth() / medians["sample_tokens"]
    benchmark.extra_info.update(
        {"limit/sample_tokens": round(share, 3), "bar": 5 if name == "top-p .95" else None}
    )
