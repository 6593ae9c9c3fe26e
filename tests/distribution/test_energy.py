"""Energy distances: the distance itself, and what each feature of a text is."""

from __future__ import annotations

import pytest
import torch
from distribution.texts import fitted, random_samples
from hypothesis import given, settings
from hypothesis import strategies as st

from dftfast.distribution.energy import (
    AskedLengthEnergy,
    CoverageEnergy,
    LengthEnergy,
    PhraseEnergy,
    RepetitionEnergy,
    mean_distance,
)
from dftfast.distribution.samples import Samples


@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=30),
    st.lists(st.floats(-5, 5), min_size=1, max_size=30),
)
@settings(deadline=None, max_examples=50)
def test_mean_distance_equals_the_mean_of_all_distances(a, b):
    a, b = torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)
    assert torch.allclose(mean_distance(a, b), (a[:, None] - b).abs().mean(1), atol=1e-12)


def test_length_energy_is_twice_the_cramer_distance_for_large_samples():
    x, y = random_samples(3000, 18), random_samples(3000, 19)
    x = x.select(torch.nonzero(x.lengths > 3)[:, 0])
    a, b = LengthEnergy().feature(x), LengthEnergy().feature(y)
    grid = torch.cat([a, b]).unique()
    below = lambda values: (values[:, None] <= grid[:-1]).double().mean(0)
    cramer = ((below(a) - below(b)).square() * grid.diff()).sum()
    assert fitted(LengthEnergy(), y).value(x) == pytest.approx(2 * float(cramer), rel=0.02)


def test_asked_length_is_the_log_ratio_of_words_written_and_asked_for():
    texts, prompts = (
        ["one two", "One, two: three; don't", ""],
        ["Length: about 4 words", "No length\n", "5 words"],
    )
    of = lambda prompts: Samples.of(torch.zeros(3, 1), [[0]] * 3, texts, prompts=prompts)
    assert fitted(AskedLengthEnergy(), of(prompts)).feature(
        of(prompts)
    ).exp().tolist() == pytest.approx([1 / 2, 1, 1 / 5])
    with pytest.raises(ValueError, match="prompts"):
        AskedLengthEnergy().fit(of(None))


def test_repetition_is_the_share_of_words_that_the_text_has_used_before():
    texts = ["The cat and the dog", "one two three", "...", "no no no no"]
    samples = Samples.of(torch.zeros(len(texts), 1), [[0]] * len(texts), texts)
    assert RepetitionEnergy().feature(samples).tolist() == pytest.approx([1 / 5, 0, 0, 3 / 4])


def test_phrases_are_shared_with_the_human_texts_for_other_prompts():
    of = lambda texts, prompts: Samples.of(
        torch.zeros(len(texts), 1), [[0]] * len(texts), texts, prompts=prompts
    )
    human = of(["Thanks for the update, Ann", "thanks for the note", "Thank you."], ["a", "b", "c"])
    phrases = fitted(PhraseEnergy(), human)
    assert phrases.feature(human).tolist() == pytest.approx([1 / 3, 1 / 2, 0])
    texts = [
        "thanks for the note",
        "Thanks for the note",
        "the update, Ann: for the update",
        "two words",
    ]
    assert phrases.feature(of(texts, ["b", "new", "new", "new"])).tolist() == pytest.approx(
        [1 / 2, 1, 1 / 2, 0]
    )
    with pytest.raises(ValueError, match="prompts"):
        PhraseEnergy().fit(of(["one"], None))


def test_coverage_is_the_share_of_the_prompts_own_words_that_the_text_has():
    prompts = ["Write this: Lunch with Maria, 2001", "Write this: budget", "Write this: the cat"]
    texts = ["LUNCH at noon, maria? Budget write", "The Budget.", "Nothing"]
    of = lambda texts, prompts: Samples.of(
        torch.zeros(len(texts), 1), [[0]] * len(texts), texts, prompts=prompts
    )
    coverage = fitted(CoverageEnergy(), of(texts, prompts))
    assert coverage.feature(of(texts, prompts)).tolist() == pytest.approx(
        [2 / 4, 1, 1]
    )  # no word of its own: covered
    assert coverage.feature(of(texts[::-1], prompts)).tolist() == pytest.approx([0, 1, 1])
    with pytest.raises(ValueError, match="prompts"):
        CoverageEnergy().fit(of(texts, None))
