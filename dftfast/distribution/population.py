"""Population selection: of each prompt's candidates choose one, so that the chosen are human-like.

The chosen population S minimises `J(S) = Σ_m w_m D_m(S)` by coordinate descent, prompt after
prompt, on exact costs of exchanging one text. Each D_m is quadratic or linear in the empirical
measure of S, so an exchange costs a few sums (kernel herding, Chen et al. 2010,
https://arxiv.org/abs/1203.3472, under a one-per-prompt constraint). The population is used as it
is: nothing is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dftfast.distribution.density_ratio import DensityRatio
from dftfast.distribution.energy import Energy, LengthEnergy
from dftfast.distribution.mmd import MMD, LexicalMMD, StyleMMD
from dftfast.distribution.ngram_l2 import NGramL2
from dftfast.distribution.protocol import Discrepancy
from dftfast.distribution.samples import Samples
from dftfast.distribution.terms import EnergyTerm, KernelTerm, LinearTerm, NGramTerm, Term
from dftfast.runtime.profile import stage

BLOCK = 512  # candidates whose kernel sums are brought up to date at once
# Bandwidths of a kernel term, in units of the median distance between human texts.
FACTORS = (0.5, 1.0, 2.0)
# How much each discrepancy has to say.
WEIGHTS = {"mmd": 1.0, "lexical": 1.0, "ngram": 1.0, "style": 0.5, "length": 0.5, "classifier": 0.5}
# The discrepancies that score whole texts.
KINDS: dict[str, Callable[[], Discrepancy]] = {
    "mmd": lambda: MMD(FACTORS),
    "lexical": lambda: LexicalMMD(FACTORS),
    "style": lambda: StyleMMD(FACTORS),
    "length": LengthEnergy,
    "classifier": DensityRatio,
}


@stage("discrepancy")
def make_terms(
    candidates: Samples,
    human: Samples,
    vocab: int,
    weights: Mapping[str, float] = WEIGHTS,
) -> dict[str, tuple[float, Term]]:
    """Name -> (weight, term) for the discrepancies whose weight is not zero, fitted on `human`.

    Weights are relative: `select_population` brings the terms to a common scale. Names: those of
    `KINDS`, and ngram (becomes ngram1, ngram2, ngram3, a third of the weight each). Raises
    ValueError for another name.
    """
    terms: dict[str, tuple[float, Term]] = {}
    for name, weight in weights.items():
        if not weight:
            continue
        if name in KINDS:
            discrepancy = KINDS[name]()
            discrepancy.fit(human)
            terms[name] = (weight, _term(discrepancy, candidates))
        elif name == "ngram":
            ngram = NGramL2(vocab)
            ngram.fit(human)
            for n in ngram.sizes:
                terms[f"ngram{n}"] = (weight / len(ngram.sizes), NGramTerm(ngram, n, candidates))
        else:
            raise ValueError(f"no discrepancy is called {name!r}")
    return terms


def _term(discrepancy: Discrepancy, candidates: Samples) -> Term:
    if isinstance(discrepancy, MMD):
        return KernelTerm(discrepancy, candidates)
    if isinstance(discrepancy, Energy):
        return EnergyTerm(discrepancy, candidates)
    return LinearTerm(-discrepancy.witness(candidates))


@stage("discrepancy")
def select_population(
    prompt: Sequence[int],
    terms: Mapping[str, tuple[float, Term]],
    seed: int,
    sweeps: int = 4,
) -> tuple[list[int], list[dict[str, float]]]:
    """Choose one candidate for each prompt.

    A term's weight is divided by its scale: how far the exchange costs of one prompt's candidates
    spread at the random start, root mean square over the prompts of a block. Terms of equal weight
    then have an equal say at first; as a quadratic term nears its minimum, its say falls.

    Args:
        prompt: the prompt of each candidate, in any numbering.
        terms: from `make_terms`.
        sweeps: passes over the prompts at most; it stops when a pass changes nothing.

    Returns:
        The chosen candidates in the order of their prompts, and a record for the random start and
        each sweep: J, the value of each term, exchanges made, and `weight_*`, by which each term's
        value enters J.
    """
    rng = np.random.default_rng(seed)
    groups = _groups(np.asarray(prompt))
    chosen = np.array([rng.choice(group) for group in groups])
    blocks = _blocks(groups, rng.permutation(len(groups)))
    for _, term in terms.values():
        term.start(chosen)
    weights = {
        name: weight / _scale(term, groups, blocks[0], chosen)
        for name, (weight, term) in terms.items()
    }
    weighted = [(weights[name], term) for name, (_, term) in terms.items()]
    records = [_record(terms, weights, chosen, 0)]
    while len(records) <= sweeps:
        exchanges = sum(
            _visit(number, block, groups, weighted, chosen) for number, block in enumerate(blocks)
        )
        records.append(_record(terms, weights, chosen, exchanges))
        if not exchanges:
            break
    return chosen.tolist(), records


def _record(
    terms: Mapping[str, tuple[float, Term]],
    weights: Mapping[str, float],
    chosen: np.ndarray,
    exchanges: int,
) -> dict[str, float]:
    """J, each term's value and weight, and the exchanges that led here."""
    values = {name: term.value(chosen) for name, (_, term) in terms.items()}
    objective = float(sum(weights[name] * value for name, value in values.items()))
    entered = {f"weight_{name}": weight for name, weight in weights.items()}
    return {"J": objective, **values, "exchanges": exchanges, **entered}


def _groups(prompt: np.ndarray) -> list[np.ndarray]:
    """The candidates of each prompt, prompts in ascending order."""
    order = np.argsort(prompt, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(prompt[order])) + 1)


def _blocks(groups: list[np.ndarray], order: np.ndarray) -> list[np.ndarray]:
    """Prompts in this order, cut so that the candidates of a block number about `BLOCK`."""
    seen = np.cumsum([len(groups[p]) for p in order])
    return np.split(order, np.flatnonzero(np.diff((seen - 1) // BLOCK)) + 1)


def _scale(term: Term, groups: list[np.ndarray], block: np.ndarray, chosen: np.ndarray) -> float:
    term.enter(0, np.concatenate([groups[p] for p in block]))
    variances = [term.costs(groups[p], int(chosen[p])).var() for p in block if len(groups[p]) > 1]
    spread = float(np.sqrt(np.mean(variances))) if variances else 0.0
    return spread or 1.0


def _visit(
    number: int,
    block: np.ndarray,
    groups: list[np.ndarray],
    weighted: list[tuple[float, Term]],
    chosen: np.ndarray,
) -> int:
    """Give each prompt of a block the candidate of least cost; the number of exchanges."""
    candidates = np.concatenate([groups[p] for p in block])
    for _, term in weighted:
        term.enter(number, candidates)
    exchanges = 0
    for p in block:
        group, current = groups[p], int(chosen[p])
        costs = sum(
            (weight * term.costs(group, current) for weight, term in weighted),
            start=np.zeros(len(group)),
        )
        best = int(np.argmin(costs))
        if costs[best] < costs[np.flatnonzero(group == current)[0]]:
            for _, term in weighted:
                term.exchange(current, int(group[best]))
            chosen[p] = group[best]
            exchanges += 1
    return exchanges
