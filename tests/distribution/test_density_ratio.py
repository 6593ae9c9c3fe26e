"""The density ratio: what it ranks higher, and what it must not have seen."""

from __future__ import annotations

import numpy as np
import pytest
from distribution.texts import fitted, random_samples

from dftfast.distribution.density_ratio import DensityRatio


def test_density_ratio_ranks_human_like_samples_higher_and_is_blind_to_equal_sets():
    human, model = random_samples(300, 9), random_samples(300, 10, shift=0.6)
    ratio = fitted(DensityRatio(), human)
    assert ratio.value(model) > 0.3
    witness = ratio.witness(model)
    assert np.corrcoef(witness.numpy(), model.embeddings.mean(1).numpy())[0, 1] < -0.7
    assert abs(ratio.value(random_samples(300, 11))) < 0.15


def test_density_ratio_takes_a_reference_far_larger_than_the_samples():
    """Balanced classes: the logits do not shift with the size of the reference."""
    model = random_samples(200, 10, shift=0.6)
    small, large = (
        fitted(DensityRatio(), random_samples(200, 9)),
        fitted(DensityRatio(), random_samples(4000, 9)),
    )
    assert large.value(model) == pytest.approx(small.value(model), abs=0.4)
    assert large.value(model) > 0.3


def test_density_ratio_does_not_score_a_text_by_a_model_that_saw_it():
    """Without cross-fitting, 40 noise features and 60 texts would look separable."""
    ratio = fitted(DensityRatio(), random_samples(60, 20, dimensions=40))
    model = random_samples(60, 21, dimensions=40)
    assert abs(ratio.value(model)) < 0.3
