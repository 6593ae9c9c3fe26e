"""The human texts of a target without texts, as evaluation compares with them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from hashlib import blake2b

import numpy as np
from scipy import sparse

from dftfast.distribution.lexical import TOKENS
from dftfast.distribution.ngram_table import ORDERS, NGramTable
from dftfast.distribution.private_target import PrivateTarget
from dftfast.distribution.target_blend import Blend
from dftfast.distribution.targets import Target
from dftfast.evaluation import ngrams, text_stats
from dftfast.evaluation.reference import Reference
from dftfast.evaluation.slop.style_scale import StyleScale
from dftfast.evaluation.textset import TextSet
from dftfast.evaluation.writing_systems import corpus_scripts
from dftfast.runtime.errors import UserError

UNSEEN = "evaluation.unseen"


def measured(
    ids: Sequence[str],
    texts: Sequence[str],
    token_ids: Sequence[Sequence[int]],
    special: Sequence[int],
    unseen: np.ndarray | None,
) -> tuple[dict[str, np.ndarray], dict]:
    """What a target keeps of its texts for evaluation: arrays of its file, and of its header.

    Args:
        token_ids: without the end token.
        special: token ids that are left out of n-grams.
        unseen: float32 [n, e], from a second embedder.
    """
    scripts = corpus_scripts(texts)
    statistics = text_stats.per_text(texts, scripts)
    arrays = {
        "evaluation.ids": np.array([id_key(each) for each in ids], np.int64),
        "evaluation.statistics": np.stack(list(statistics.values()), axis=1),
        "evaluation.chance": np.array([_chance(token_ids, n, special) for n in ORDERS]),
    }
    if unseen is not None:
        arrays[UNSEEN] = unseen.astype(np.float16)
    return arrays, {"statistics": list(statistics), "scripts": sorted(scripts)}


def id_key(identifier: str) -> int:
    digest = blake2b(identifier.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def _chance(token_ids: Sequence[Sequence[int]], n: int, special: Sequence[int]) -> float:
    """What the chance of which texts there are adds to a squared distance of frequencies.

    As `distances.chance`: the sum of ‖c − t f‖² / (Σ t)² over texts of counts c and t n-grams.
    """
    keys, document = ngrams.ngram_keys(token_ids, n, TOKENS, special)
    counts, _ = ngrams.count_matrix(keys, document, len(token_ids))
    sizes, f = np.asarray(counts.sum(1)).ravel(), ngrams.frequencies(counts)
    squares = float(sparse.csr_matrix.multiply(counts, counts).sum())
    spread = squares - 2 * sizes @ (counts @ f) + (sizes @ sizes) * (f @ f)
    return float(spread / max(sizes.sum(), 1) ** 2 * len(sizes) / (len(sizes) - 1))


class TargetTexts:
    """What is known of each human text of a target or blend.

    Attributes:
        ids: int64 [m], `id_key` of each.
        embeddings, style: float32 [m, d]; unseen: too, or None.
        statistics: name -> float64 [m], as of `text_stats.per_text`.
        ngrams: of all texts together, by order; chance: of each order, as of `_chance`.

    Raises:
        UserError: a target is private.
    """

    def __init__(self, blend: Blend):
        targets = [file.target for file in blend.files]
        if any(isinstance(target, PrivateTarget) for target in targets):
            raise UserError(
                f"{blend}: a private target has no points of single texts: it can train, not "
                "evaluate"
            )
        files, rows, shares = blend.files, blend.rows, np.array(blend.weights)
        whole = [target for target in targets if isinstance(target, Target)]
        take = lambda parts: np.concatenate([p[r].astype(np.float32) for p, r in zip(parts, rows)])
        of = lambda name: [file.arrays[name] for file in files]
        self.ids = np.concatenate([ids[r] for ids, r in zip(of("evaluation.ids"), rows)])
        self.embeddings = take([target.embeddings.numpy() for target in whole])
        self.style = take([target.style.numpy() for target in whole])
        self.unseen = take(of(UNSEEN)) if all(UNSEEN in file.arrays for file in files) else None
        statistics = np.concatenate(
            [values[r] for values, r in zip(of("evaluation.statistics"), rows)]
        )
        self.statistics = dict(zip(files[0].header["statistics"], statistics.T))
        self.scripts = {name for file in files for name in file.header["scripts"]}
        self.ngrams, self.chance = _mixed(whole, shares, np.array(of("evaluation.chance")))

    def __len__(self) -> int:
        return len(self.ids)

    def names(self, known: Sequence[str]) -> list[str]:
        """The id of each text where it is among the known ones, else one that nothing else has."""
        by_key = {id_key(each): each for each in known}
        return [by_key.get(key, f"target#{i}") for i, key in enumerate(self.ids.tolist())]


def _mixed(
    targets: list[Target], weights: np.ndarray, chance: np.ndarray
) -> tuple[dict[int, NGramTable], np.ndarray]:
    if len(targets) == 1:
        return targets[0].ngrams, chance[0]
    texts = np.array([len(target) for target in targets])
    scales = weights * texts.sum() / texts
    tables, spread = {}, np.zeros(len(ORDERS))
    for place, n in enumerate(ORDERS):
        own = [target.ngrams[n] for target in targets]
        tables[n] = NGramTable.mixture(own, scales.tolist())
        sizes = scales * [float(table.totals.sum()) for table in own]
        spread[place] = np.square(sizes / sizes.sum()) @ chance[:, place]
    return tables, spread


class TargetReference(Reference):
    """The reference that a target is; what needs its texts is not there.

    Args:
        texts: of the target.
        rows: those to compare with, and what they are called.

    Attributes:
        incomplete: why n-grams cannot be compared with prompt by prompt, or None.
    """

    def __init__(self, texts: TargetTexts, rows: Sequence[int], ids: Sequence[str], **options):
        self.measured, self.rows = texts, np.asarray(rows, np.int64)
        unseen = None if texts.unseen is None else texts.unseen[self.rows]
        nothing = ["(not in the target)"] * len(ids)
        own = TextSet(ids, nothing, nothing, None, texts.embeddings[self.rows], unseen)
        super().__init__(own, **options)
        self.ngrams, self.chance = texts.ngrams, texts.chance
        all_there = len(self.rows) == len(texts)
        self.incomplete = None if all_there else "the outputs answer some prompts of the target"

    @cached_property
    def style(self) -> StyleScale:
        return StyleScale(self.measured.style[self.rows])

    @cached_property
    def scripts(self) -> set[str]:
        return self.measured.scripts

    @cached_property
    def per_text(self) -> dict[str, np.ndarray]:
        return {name: values[self.rows] for name, values in self.measured.statistics.items()}
