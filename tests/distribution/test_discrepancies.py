"""Discrepancies against definitions written out as loops; witnesses against finite differences."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dftfast.distribution.classifier import DensityRatio
from dftfast.distribution.energy import (
    AskedLengthEnergy,
    CoverageEnergy,
    Energy,
    LengthEnergy,
    PhraseEnergy,
    RepetitionEnergy,
    mean_distance,
)
from dftfast.distribution.mmd import (
    MMD,
    ConditionalMMD,
    LexicalMMD,
    StyleMMD,
    median_bandwidth,
    mmd2_unbiased,
    signed_root,
)
from dftfast.distribution.ngram_l2 import NGramL2
from dftfast.distribution.samples import Samples
from dftfast.distribution.style import STYLE_FEATURES, style_features

from .texts import VOCAB, Embedding, random_samples, standard_library_docstrings


def kernel(x, y, h):
    return math.exp(-float(((x - y) ** 2).sum()) / (2 * h * h))


def mmd2_by_loops(x, y, k):
    n, m = len(x), len(y)
    within = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    human = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within + human - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


def fitted(discrepancy, human):
    discrepancy.fit(human)
    return discrepancy


@pytest.mark.parametrize("factors", [(1.0,), (0.5, 1.0, 2.0)])
def test_mmd_equals_the_sums_of_its_definition(factors):
    x, y = random_samples(9, 1, shift=0.5), random_samples(12, 2)
    median = median_bandwidth(y.embeddings)
    expected = np.mean(
        [
            mmd2_by_loops(
                x.embeddings.double(),
                y.embeddings.double(),
                lambda a, b: kernel(a, b, factor * median),
            )
            for factor in factors
        ]
    )
    mmd = fitted(MMD(factors), y)
    assert mmd.value(x) == pytest.approx(expected, rel=1e-4)
    assert mmd2_unbiased(x.embeddings, y.embeddings, mmd.bandwidths) == pytest.approx(
        expected, rel=1e-4
    )


def test_conditional_mmd_is_that_of_the_product_kernel():
    x, y = random_samples(9, 1, shift=0.5), random_samples(12, 2)
    h, g = median_bandwidth(y.embeddings), median_bandwidth(y.prompt_embeddings)
    pairs = [list(zip(s.embeddings.double(), s.prompt_embeddings.double())) for s in (x, y)]
    expected = mmd2_by_loops(*pairs, lambda a, b: kernel(a[0], b[0], h) * kernel(a[1], b[1], g))
    assert fitted(ConditionalMMD(), y).value(x) == pytest.approx(expected, rel=1e-4)


def of_tokens(tokens):
    """Texts alike to everything but their tokens."""
    return Samples.of(torch.zeros(len(tokens), 1), tokens, ["text"] * len(tokens))


def test_lexical_mmd_is_that_of_scaled_log_counts():
    """Up to the projection, which keeps distances to about 1/sqrt(512)."""
    rng = np.random.default_rng(5)
    draw = lambda count, top: [
        rng.integers(0, top, rng.integers(20, 40)).tolist() for _ in range(count)
    ]
    x, y = of_tokens(draw(40, 200)), of_tokens(draw(50, 300))

    def points(samples):
        counts = torch.stack(
            [
                torch.bincount(torch.tensor(samples.tokens_of(i)), minlength=300)
                for i in range(len(samples))
            ]
        )
        return torch.nn.functional.normalize(counts.double().log1p(), dim=1)

    h = median_bandwidth(points(y))
    expected = mmd2_by_loops(points(x), points(y), lambda a, b: kernel(a, b, h))
    lexical = fitted(LexicalMMD(), y)
    assert lexical.value(x) == pytest.approx(expected, rel=0.1)
    assert torch.equal(lexical.features(x.select([3, 3, 7])), lexical.features(x)[[3, 3, 7]])


def test_lexical_mmd_sees_what_repeats_within_a_text():
    """The same tokens as often in all, but half as many different ones in a text: n-gram L2 of single tokens sees none of it."""
    rng = np.random.default_rng(6)
    once = lambda: of_tokens([rng.integers(0, 60, 30).tolist() for _ in range(600)])
    twice = of_tokens([rng.integers(0, 60, 15).repeat(2).tolist() for _ in range(600)])
    human, plain = once(), once()
    assert fitted(NGramL2(60, sizes=(1,)), human).value(twice) < 2 * fitted(
        NGramL2(60, sizes=(1,)), human
    ).value(plain)
    lexical = fitted(LexicalMMD(), human)
    assert lexical.value(twice) > 0.005 > 0.0008 > abs(lexical.value(plain))


def test_conditional_mmd_sees_right_texts_at_wrong_prompts():
    """Shuffling texts among prompts leaves their marginal as it is; only the conditional discrepancy rises."""
    rng = np.random.default_rng(0)
    prompts = torch.from_numpy(rng.normal(size=(400, 3))).float()
    texts = prompts + 0.3 * torch.from_numpy(rng.normal(size=(400, 3))).float()
    of = lambda e, p: Samples.of(e, [[0]] * len(e), [""] * len(e), p)
    human, right = of(texts[:200], prompts[:200]), of(texts[200:], prompts[200:])
    wrong = of(texts[200:].roll(1, 0), prompts[200:])
    assert fitted(MMD(), human).value(wrong) == pytest.approx(
        fitted(MMD(), human).value(right), abs=1e-6
    )
    conditional = fitted(ConditionalMMD(), human)
    assert conditional.value(wrong) > 10 * abs(conditional.value(right)) > 0
    with pytest.raises(ValueError, match="prompt_embeddings"):
        ConditionalMMD().fit(Samples.of(texts, [[0]] * 400, [""] * 400))


def test_mmd_is_unbiased_between_halves_of_one_distribution():
    values = []
    for seed in range(60):
        both = random_samples(80, seed).embeddings
        values.append(mmd2_unbiased(both[:40], both[40:], torch.tensor([2.0])))
    assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(len(values))


def test_signed_root_keeps_the_sign():
    assert (
        signed_root(0.04) == pytest.approx(0.2)
        and signed_root(-0.04) == pytest.approx(-0.2)
        and signed_root(0.0) == 0
    )


@pytest.mark.parametrize(
    "make",
    [
        MMD,
        lambda: MMD((0.5, 2.0)),
        ConditionalMMD,
        StyleMMD,
        LengthEnergy,
        CoverageEnergy,
        RepetitionEnergy,
        PhraseEnergy,
        AskedLengthEnergy,
    ],
)
def test_kernel_witness_is_minus_the_first_variation(make):
    """With weights q on the samples, moving ε of the mass to sample i changes the metric by −ε (r_i − ⟨q, r⟩).

    The witness leaves out the sample's own kernel, so it is compared with that variation without the diagonal.
    """
    x, y = random_samples(9, 5, shift=0.4, vocab=4), random_samples(20, 6, vocab=4)
    discrepancy = fitted(make(), y)

    def gram(a, b):
        if isinstance(discrepancy, Energy):
            return -torch.cdist(discrepancy.feature(a)[:, None], discrepancy.feature(b)[:, None])
        squared = torch.cdist(
            discrepancy.features(a).double(), discrepancy.features(b).double()
        ).square()
        return sum(
            torch.exp(-squared / (2 * h * h)) for h in discrepancy.bandwidths.double()
        ) / len(discrepancy.bandwidths)

    kxx, kxy, n = gram(x, x), gram(x, y).mean(1), len(x)
    kxx = kxx - kxx.diag().diag()
    q, eps = torch.full((n,), 1 / n, dtype=torch.float64), 1e-6
    metric = lambda q: q @ kxx @ q * n / (n - 1) - 2 * q @ kxy
    r = discrepancy.witness(x).double()
    for i in range(n):
        moved = (1 - eps) * q
        moved[i] += eps
        assert (metric(moved) - metric(q)) / eps == pytest.approx(
            -float(r[i] - q @ r), rel=1e-3, abs=1e-5
        )


def l2_squared_by_counting(samples, human, n):
    def frequencies(s):
        counts = Counter()
        for i in range(len(s)):
            tokens = s.tokens_of(i)
            counts.update(zip(*(tokens[k:] for k in range(n))))
        return {g: c / sum(counts.values()) for g, c in counts.items()}

    q, p = frequencies(samples), frequencies(human)
    return sum((q.get(g, 0) - p.get(g, 0)) ** 2 for g in q.keys() | p.keys())


def test_ngram_value_equals_counting():
    x, y = random_samples(20, 3), random_samples(30, 4)
    expected = sum(l2_squared_by_counting(x, y, n) for n in (1, 2, 3))
    assert fitted(NGramL2(VOCAB), y).value(x) == pytest.approx(expected, rel=1e-6)


def test_ngram_witness_is_minus_the_first_variation():
    """Adding ε more of an n-gram changes ‖f_q − f_p‖² by −ε · witness, to first order."""
    x, y = random_samples(10, 7, vocab=8), random_samples(10, 8, vocab=8)
    f_q, f_p = (torch.bincount(s.tokens, minlength=8).double() / len(s.tokens) for s in (x, y))
    rewards = fitted(NGramL2(VOCAB, sizes=(1,)), y).witness(x)
    eps = 1e-6
    for place, token in enumerate(x.tokens.tolist()):
        moved = f_q.clone()
        moved[token] += eps
        moved /= moved.sum()
        change = ((moved - f_p).square().sum() - (f_q - f_p).square().sum()) / eps
        assert float(change) == pytest.approx(-float(rewards[place]), rel=1e-3, abs=1e-6)


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


def test_style_features_have_their_names_and_hand_counted_values():
    text = "I don't know. I think — maybe, at least — that it's 12!\n\nShe said so; they left?"
    found = dict(zip(STYLE_FEATURES, style_features(text), strict=True))
    words = 16
    assert found["log words"] == pytest.approx(math.log1p(words))
    assert found["log paragraphs"] == pytest.approx(math.log1p(2))
    assert found["commas"] == pytest.approx(1 / words) and found["em dashes"] == pytest.approx(
        2 / words
    )
    assert found["semicolons and colons"] == pytest.approx(1 / words) and found[
        "question marks"
    ] == pytest.approx(1 / words)
    assert found["first person"] == pytest.approx(2 / words) and found[
        "contractions"
    ] == pytest.approx(2 / words)
    assert found["same start"] == pytest.approx(1 / 2)  # three sentences: I, I, She
    assert found["digits"] == pytest.approx(2 / len(text)) and found["not ASCII"] == pytest.approx(
        2 / len(text)
    )
    assert found["repeated trigrams"] == 0
    assert dict(zip(STYLE_FEATURES, style_features("go on and " * 5)))[
        "repeated trigrams"
    ] == pytest.approx(1 - 3 / 13)


@given(st.text(max_size=200))
@settings(deadline=None, max_examples=100)
def test_style_features_of_any_text_are_finite(text):
    assert np.isfinite(style_features(text)).all()


def test_style_sees_what_is_written_in_another_manner():
    texts = standard_library_docstrings()
    rng = np.random.default_rng(0)
    rng.shuffle(texts)
    half = len(texts) // 2
    embedding = Embedding([*texts, *(text.replace(".", "!") for text in texts)])
    style = fitted(StyleMMD(), embedding.samples(texts[:half]))
    alike = style.value(embedding.samples(texts[half:]))
    assert (
        style.value(embedding.samples([text.replace(".", "!") for text in texts[half:]]))
        > alike + 0.02
        > 0
    )


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
        assert torch.equal(selected.prompt_embeddings[place], samples.prompt_embeddings[i])
        assert selected.prompts[place] == samples.prompts[i]
    both = Samples.concat([samples.select([i]) for i in index])
    assert torch.equal(both.tokens, selected.tokens) and torch.equal(both.offsets, selected.offsets)
    assert both.texts == selected.texts and torch.equal(
        both.prompt_embeddings, selected.prompt_embeddings
    )
    assert both.prompts == selected.prompts
