"""Targets in place of texts: the same numbers, what they give away, and blends."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from dftfast.distribution.packed import pack, unpack
from dftfast.distribution.private_target import PrivateTarget
from dftfast.distribution.recovery import recovered_runs
from dftfast.distribution.samples import Samples
from dftfast.distribution.target_blend import Blend, common_tokens, named_targets
from dftfast.distribution.target_file import load_target, save_target
from dftfast.distribution.targets import Target, blend
from dftfast.distribution.weighted import Witnesses
from dftfast.runtime.errors import UserError
from dftfast.runtime.mixing import common_lengths

PROMPTS, EACH = 30, 4
WORDS = "the a of to and in is it you that was for on are with his they be at one".split()


def texts(count: int, seed: int, favourite: int = 0, share: float = 0.2) -> Samples:
    """Texts of few words, whose embedding and words lean towards a favourite."""
    rng = np.random.default_rng(seed)
    chances = np.full(len(WORDS), (1 - share) / (len(WORDS) - 1))
    chances[favourite] = share
    tokens = [[*rng.choice(len(WORDS), rng.integers(6, 30), p=chances), 99] for _ in range(count)]
    written = [" ".join(WORDS[t] for t in ids[:-1]) + "." for ids in tokens]
    embeddings = torch.from_numpy(rng.normal(size=(count, 8))).float()
    embeddings[:, favourite % 8] += 2 * share
    embeddings = torch.nn.functional.normalize(embeddings, dim=1).half().float()
    return Samples.of(embeddings, [list(map(int, ids)) for ids in tokens], written)


def header(samples: Samples) -> dict:
    lengths = np.quantile(samples.lengths, np.linspace(0, 1, 21))
    same = {"name": None, "sha256": "0"}
    return {
        "texts": len(samples),
        "tokenizer": same,
        "embedder": same,
        "lengths": [round(float(length)) for length in lengths],
    }


def saved(path, human: Samples, **options):
    save_target(path, Target.of(human), header(human), **options)
    return path


def rewards(human, candidates: Samples) -> tuple[np.ndarray, dict, dict]:
    prompt = np.repeat(np.arange(PROMPTS), EACH)
    known = texts(200, 2)
    completions = [known.tokens_of(i) if i % 2 else [1, 2, 3, 99] for i in range(PROMPTS)]
    found = Witnesses(candidates, human, prompt.tolist(), completions, 5)
    weights = np.random.default_rng(3).uniform(0.3, 2, len(prompt))
    return found.reward(weights), found.reliability, found.values(weights)


def test_a_target_is_worth_its_texts_bit_for_bit(tmp_path):
    human, candidates = texts(200, 2), texts(PROMPTS * EACH, 1, 3, 0.4)
    file = load_target(saved(tmp_path / "a.target", human))
    assert file.samples is None and isinstance(file.target, Target)
    for found, wanted in zip(rewards(file.target, candidates), rewards(human, candidates)):
        np.testing.assert_equal(found, wanted)


def test_texts_are_in_the_file_only_when_asked_for(tmp_path):
    human = texts(40, 2)
    plain = saved(tmp_path / "a.target", human)
    whole = saved(tmp_path / "b.target", human, samples=human)
    words = human.texts[0].encode()
    assert words not in plain.read_bytes() and words in whole.read_bytes()
    assert not [name for name in load_file(plain) if name.startswith("samples")]
    kept = load_target(whole).samples
    assert kept is not None and kept.texts == human.texts
    assert torch.equal(kept.tokens, human.tokens) and torch.equal(kept.offsets, human.offsets)


@pytest.mark.parametrize("damage", [b"", b"{}", b"\x08\0\0\0\0\0\0\0{}      "])
def test_no_target_is_refused(tmp_path, damage):
    path = tmp_path / "a.target"
    path.write_bytes(damage)
    with pytest.raises(UserError, match="no target can be read"):
        load_target(path)
    with pytest.raises(UserError, match="no such file"):
        load_target(tmp_path / "b.target")


def test_packed_integers_come_back_and_damage_is_seen():
    values = np.array([0, 5, 2**53, 1, 0])
    assert unpack(pack(values), 5).tolist() == values.tolist()
    for packed, count in ((pack(values), 4), (pack(values), 6), (pack(values)[:-3], 5)):
        with pytest.raises(UserError, match="damaged"):
            unpack(packed, count)


def test_a_blend_is_the_mixture():
    """As the texts of both would be, one three times as often as the other."""
    a, b, candidates = texts(150, 4, 0, 0.5), texts(150, 5, 7, 0.5), texts(PROMPTS * EACH, 1)
    mixture = blend([Target.of(a), Target.of(b)], [3, 1])
    assert len(mixture) == 200
    repeated = Samples.concat([a, a, a, b])
    counted, scaled = repeated.ngrams[2], mixture.ngrams[2]
    np.testing.assert_array_equal(counted.keys, scaled.keys)
    frequency = lambda table: table.counts.sum(0) / table.totals.sum()
    np.testing.assert_allclose(frequency(scaled), frequency(counted), rtol=1e-9)
    mine, of_texts = rewards(mixture, candidates)[0], rewards(repeated, candidates)[0]
    assert np.corrcoef(mine, of_texts)[0, 1] > 0.97
    assert np.corrcoef(mine, rewards(b, candidates)[0])[0, 1] < 0.9


def test_the_own_text_is_left_out_of_a_blend_as_it_is_counted():
    a, b = texts(60, 4), texts(30, 5, 7, 0.5)
    mixture = blend([Target.of(a), Target.of(b)], [1, 1])
    own = mixture.own([a.tokens_of(3), b.tokens_of(7), [1, 99]])
    np.testing.assert_allclose(own.scale, [0.5 * 90 / 60, 0.5 * 90 / 30, 0])
    assert own.row[1] >= 30 and own.row[2] == -1
    if own.row[0] >= 0:
        assert torch.equal(mixture.embeddings[own.row[0]], a.embeddings[3])
    assert torch.equal(mixture.embeddings[own.row[1]], b.embeddings[7])


def test_a_private_target_points_the_same_way(tmp_path):
    human, candidates = texts(400, 2), texts(PROMPTS * EACH, 1, 3, 0.4)
    private = PrivateTarget.of(human, 5)
    path = tmp_path / "a.target"
    save_target(path, private, header(human))
    again = load_target(path).target
    assert isinstance(again, PrivateTarget)
    weights = np.ones(PROMPTS * EACH)
    prompt = np.repeat(np.arange(PROMPTS), EACH)
    found, wanted = (
        Witnesses(candidates, each, prompt.tolist(), [[]] * PROMPTS, 0) for each in (again, human)
    )
    assert np.corrcoef(found.reward(weights), wanted.reward(weights))[0, 1] > 0.97
    for name, value in wanted.values(weights).items():
        assert found.values(weights)[name] == pytest.approx(value, rel=0.3), name


def test_a_private_target_holds_nothing_of_few_texts(tmp_path):
    human = texts(60, 2)
    rare = Samples.of(torch.zeros(1, 8), [[70, 71, 72, 73, 99]], ["a secret"])
    both = Samples.concat([human, rare])
    path = tmp_path / "a.target"
    save_target(path, PrivateTarget.of(both, 3), header(both))
    table = load_target(path).target.ngrams[1]
    assert 70 not in table.keys and set(range(len(WORDS))) <= set(table.keys)
    assert not {"texts.embeddings", "texts.lexical", "texts.style", "texts.keys"} & {
        *load_file(path)
    }


def test_runs_that_follow_from_their_first_two_tokens():
    alone = Samples.of(torch.zeros(1, 8), [[*range(20), 99]], ["x"])
    assert recovered_runs(alone, alone.ngrams[3], False) == 1
    fork = Samples.of(torch.zeros(1, 8), [[9, 10, 50, 51, 52, 53, 54, 55, 99]], ["y"])
    both = Samples.concat([alone, fork])
    # 9 10 goes on with 11 or 50: of 14 and 2 runs those with this step are lost
    assert recovered_runs(both, both.ngrams[3], False) == pytest.approx((14 - 6 + 2 - 1) / 16)
    assert recovered_runs(both, both.ngrams[3], True) == 1  # only one has the token 11, or 50


def test_names_of_a_blend():
    (one,), two = named_targets(["a.target"]), named_targets(["a:0.7", "b.target:0.3"])
    assert (str(one[0]), one[1]) == ("a.target", 1)
    assert [(str(path), weight) for path, weight in two] == [("a", 0.7), ("b.target", 0.3)]
    for given, why in ((["a", "b:1"], "every target a weight"), (["a:0", "b:1"], "above 0")):
        with pytest.raises(UserError, match=why):
            named_targets(given)


def test_targets_that_have_little_in_common_are_warned_of(tmp_path):
    a, alike = saved(tmp_path / "a", texts(50, 1)), saved(tmp_path / "b", texts(50, 2))
    assert not Blend.load([f"{a}:1", f"{alike}:1"]).warnings()
    other = texts(50, 3)
    foreign = Samples.of(
        other.embeddings,
        [[t + 200 for t in other.tokens_of(i)] * 9 for i in range(50)],
        other.texts,
    )
    tokens, lengths = Blend.load([f"{a}:1", f"{saved(tmp_path / 'c', foreign)}:1"]).warnings()
    assert "0% of their tokens" in tokens and "of their lengths in common" in lengths
    assert common_tokens(other.ngrams[1], other.ngrams[1]) == pytest.approx(1)
    assert common_lengths(range(21), range(21)) == pytest.approx(19 / 21)
