"""Samples: texts chosen from them, and several sets as one."""

from __future__ import annotations

import torch
from distribution.texts import random_samples
from hypothesis import given, settings
from hypothesis import strategies as st

from dftfast.distribution.samples import Samples


@given(st.lists(st.integers(0, 11), min_size=1, max_size=20))
@settings(deadline=None, max_examples=50)
def test_selected_samples_keep_their_rows_together(index):
    samples = random_samples(12, 22)
    selected = samples.select(index)
    assert len(selected) == len(index)
    for place, i in enumerate(index):
        assert (
            selected.tokens_of(place) == samples.tokens_of(i)
            and selected.texts[place] == samples.texts[i]
        )
        assert torch.equal(selected.embeddings[place], samples.embeddings[i])
    both = Samples.concat([samples.select([i]) for i in index])
    assert torch.equal(both.tokens, selected.tokens) and torch.equal(both.offsets, selected.offsets)
    assert both.texts == selected.texts and torch.equal(both.embeddings, selected.embeddings)
