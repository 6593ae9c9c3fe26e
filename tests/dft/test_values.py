"""Values of beginnings: what can be foreseen is, what cannot is not; no text sees itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dftfast.dft.values import FOLDS, PENALTY, PrefixValues

PROMPTS, EACH, WIDTH = 60, 4, 5


def walks(seed: int) -> tuple[list[torch.Tensor], np.ndarray]:
    """States of texts of different lengths, and the prompt of each."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(3, 12, PROMPTS * EACH)
    states = [torch.from_numpy(rng.normal(size=(size, WIDTH))).half() for size in sizes]
    return states, np.repeat(np.arange(PROMPTS), EACH)


@pytest.fixture(scope="module")
def values() -> PrefixValues:
    return PrefixValues(*walks(1), seed=0)


def test_a_credit_that_the_states_hold_is_foreseen(values):
    mean = np.array([float(each[:, 0].float().mean()) for each in values.states])
    noise = np.random.default_rng(2).normal(size=len(mean))
    changes = values.changes(np.stack([mean, noise], axis=1))
    assert changes.shape == (values.offsets[-1], 2)
    first = np.array([float(each[0, 0]) for each in values.states])
    told, chance = values.of_texts(changes).T
    assert np.corrcoef(told, mean - first)[0, 1] > 0.5
    assert abs(np.corrcoef(chance, noise)[0, 1]) < 0.2
    spread = values.foreseen(changes)
    assert spread[0] == pytest.approx(told.std(), rel=0.3)


def test_an_end_changes_what_only_whole_texts_tell(values):
    sizes = np.diff(values.offsets)
    credits = np.stack([(sizes > 6).astype(float), np.ones(len(sizes))], axis=1)
    changes = values.changes(credits)
    ends = changes[values.offsets[1:] - 1]
    assert ends[sizes <= 4, 0].mean() < -0.05
    assert np.abs(ends[:, 1]).max() < 0.3  # what all texts are worth is no surprise


def test_nothing_of_the_own_prompt_is_in_the_changes(values):
    credits = np.random.default_rng(4).normal(size=(PROMPTS * EACH, 1))
    other = credits.copy()
    own = values.fold == values.fold[0]
    other[own] = 9
    rows = np.repeat(own, np.diff(values.offsets))
    found, wanted = values.changes(other), values.changes(credits)
    np.testing.assert_array_equal(found[rows], wanted[rows])
    assert not np.allclose(found[~rows], wanted[~rows])
    for prompt in range(PROMPTS):
        assert len(set(values.fold[values.prompt == prompt])) == 1


def test_changes_are_those_of_a_ridge_regression_by_hand(values):
    credits = np.random.default_rng(5).normal(size=(PROMPTS * EACH, 2))
    everything = torch.cat(values.states).float()
    spread, mean = torch.std_mean(everything, dim=0)
    features, sizes = [], np.diff(values.offsets)
    for each in values.states:
        state = ((each.float() - mean) / spread).double().numpy()
        for t in range(len(state)):
            so_far, count = state[: t + 1].mean(0), t + 1
            row = [state[t], so_far, so_far * np.log(count), [np.log(count), count / 64, 1]]
            features.append(np.concatenate(row))
    x, text = np.array(features), np.repeat(np.arange(len(sizes)), sizes)
    weight = 1 / sizes[text]
    penalty = PENALTY * np.mean(np.sum(x * x * weight[:, None], 0)) * np.eye(x.shape[1])
    foretold = np.zeros((len(x), 2))
    for fold in range(FOLDS):
        rest = values.fold[text] != fold
        weighted = x[rest] * weight[rest, None]
        fitted = np.linalg.solve(x[rest].T @ weighted + penalty, weighted.T @ credits[text[rest]])
        foretold[~rest] = x[~rest] @ fitted
    last = values.offsets[1:] - 1
    inside = np.delete(np.arange(len(x)), last)
    found = values.changes(credits)
    np.testing.assert_allclose(found[inside], np.diff(foretold, axis=0)[inside], atol=1e-4)
    ends, fold = x[last], values.fold
    for k in range(FOLDS):
        gram = ends[fold != k].T @ ends[fold != k]
        gram += PENALTY * np.mean(np.diag(gram)) * np.eye(len(gram))
        fitted = np.linalg.solve(gram, ends[fold != k].T @ credits[fold != k])
        over = ends[fold == k] @ fitted - foretold[last[fold == k]]
        np.testing.assert_allclose(found[last[fold == k]], over, atol=1e-4)


def test_blocks_do_not_matter(values, monkeypatch):
    credits = np.random.default_rng(6).normal(size=(PROMPTS * EACH, 1))
    wanted = values.changes(credits)
    monkeypatch.setattr("dftfast.dft.values.BLOCK", 7)
    found = PrefixValues(*walks(1), seed=0).changes(credits)
    np.testing.assert_allclose(found, wanted, atol=1e-4)
