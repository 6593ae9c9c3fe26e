"""Every offline figure of a set of outputs against human texts."""
from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np

from dftfast.errors import UserError

from . import embedding, ngrams, overlap, quadratic, text_stats
from .figure import Figure, figure, interval, p_value, resampling_weights, signed_root, undefined
from .textset import TextSet, align

NGRAM_ORDERS = (1, 2, 3)


class Reference:
    """The human texts with what every comparison with them reuses: kernel matrix, bandwidth, floors.

    Args:
        texts: human texts, at least 4.
        bandwidth: of the Gaussian kernel; None is the median distance between the human texts.
        exclude: token ids left out of n-grams (special tokens).
        rounds: of the bootstrap and of the permutation tests.
    """

    def __init__(self, texts: TextSet, *, bandwidth: float | None = None, exclude: Iterable[int] = (),
                 rounds: int = 1000, seed: int = 0):
        if len(texts) < 4:
            raise UserError(f"{texts.name or 'reference'}: {len(texts)} texts; at least 4 are needed")
        _refuse_empty(texts)
        if rounds < 20:
            raise UserError(f"rounds: {rounds}; an interval needs at least 20")
        self.texts, self.exclude, self.rounds, self.seed = texts, frozenset(exclude), rounds, seed
        self._bandwidth = bandwidth
        self._floors: dict[str, np.ndarray] = {}

    @cached_property
    def bandwidth(self) -> float:
        return self._bandwidth or embedding.median_bandwidth(self.texts.embeddings)

    @cached_property
    def unseen_bandwidth(self) -> float:
        return embedding.median_bandwidth(self.texts.unseen_embeddings)

    @cached_property
    def scripts(self) -> set[str]:
        return text_stats.corpus_scripts(self.texts.texts)

    @cached_property
    def per_text(self) -> dict[str, np.ndarray]:
        return text_stats.per_text(self.texts.texts, self.scripts)

    @cached_property
    def self_bleu(self) -> np.ndarray:
        return overlap.self_bleu(self.texts.texts)

    @cached_property
    def halves(self) -> np.ndarray:
        """Indicator of a random half of the texts, [rounds, n]."""
        n = len(self.texts)
        return quadratic.random_subsets(np.random.default_rng([self.seed, 3]), min(self.rounds, 400), n, n // 2)

    @cached_property
    def mmd2_floor(self) -> np.ndarray:
        return self._mmd2_floor(self.texts.embeddings, self.bandwidth)

    @cached_property
    def mmd2_unseen_floor(self) -> np.ndarray:
        return self._mmd2_floor(self.texts.unseen_embeddings, self.unseen_bandwidth)

    def _mmd2_floor(self, y: np.ndarray, bandwidth: float) -> np.ndarray:
        # its spread falls as 1/n: halved, it is that of a comparison of n with n texts
        return quadratic.split_mmd2(embedding.rbf(y, y, bandwidth), self.halves) / 2

    @cached_property
    def c2st_floor(self) -> np.ndarray:
        y = self.texts.embeddings
        return np.array([embedding.c2st_correct(y[h > 0], y[h == 0], False, self.seed).mean() for h in self.halves[:4]])

    def split_floor(self, name: str, distance) -> np.ndarray:
        """What distance(first index, second index) gives between two samples of n human texts, a few times over.

        There are only n: it is measured between halves and between quarters and extrapolated as a power of the size,
        which is the way plug-in distances of equal distributions fall. Kept under `name`.
        """
        if name not in self._floors:
            first = [np.flatnonzero(h) for h in self.halves[:8]]
            second = [np.flatnonzero(1 - h) for h in self.halves[:8]]
            quarter = len(self.texts) // 4
            halves = np.array([distance(a, b) for a, b in zip(first, second)])
            quarters = np.array([distance(a[:quarter], b[:quarter]) for a, b in zip(first, second)])
            self._floors[name] = halves * halves.mean() / max(quarters.mean(), 1e-300)
        return self._floors[name]


def evaluate(outputs: TextSet, reference: TextSet | Reference, *, bandwidth: float | None = None,
             exclude: Iterable[int] = (), rounds: int = 1000, seed: int = 0, mauve: bool = False) -> dict[str, Figure]:
    """Every figure of `metrics.METRICS` that the two sets allow (all but the judge's).

    Args:
        outputs, reference: sets of texts. With the same ids they are compared prompt by prompt (paired resampling and
            permutation, BLEU and chrF); without a single common id, as independent samples. Anything between is an error.
        bandwidth, exclude, rounds, seed: as in `Reference`, which may be given instead to reuse its work.
        mauve: also MAUVE (extra `dftfast[mauve]`).

    Returns Figures by key of METRICS. A figure that cannot be computed has value None and says why.
    Raises UserError for sets that cannot be compared at all.
    """
    if not isinstance(reference, Reference):
        reference = Reference(reference, bandwidth=bandwidth, exclude=exclude, rounds=rounds, seed=seed)
    return _Comparison(outputs, reference).figures(mauve)


def _refuse_empty(texts: TextSet) -> None:
    empty = [i for i, t in zip(texts.ids, texts.texts) if not t.strip()]
    if empty:
        raise UserError(f"{texts.name or 'texts'}: {len(empty)} empty texts, the first has id {empty[0]!r}")


class _Comparison:
    def __init__(self, outputs: TextSet, reference: Reference):
        if len(outputs) < 4:
            raise UserError(f"{outputs.name or 'outputs'}: {len(outputs)} texts; at least 4 are needed")
        self.x, self.ref = outputs, reference
        self.paired = not set(outputs.ids).isdisjoint(reference.texts.ids)
        if self.paired:
            self.x = align(outputs, reference.texts)
        self.y = reference.texts
        self.rounds, self.seed = reference.rounds, reference.seed
        self.w = resampling_weights(len(self.x), self.rounds, self.seed)
        self.v = self.w if self.paired else resampling_weights(len(self.y), self.rounds, self.seed + 1)

    def figures(self, mauve: bool) -> dict[str, Figure]:
        out: dict[str, Figure] = {}
        out |= self._mmd("", self.x.embeddings, self.y.embeddings)
        if self.y.unseen_embeddings is not None or self.x.unseen_embeddings is not None:
            out |= self._mmd("_unseen", self.x.unseen_embeddings, self.y.unseen_embeddings)
        out |= self._tokens()
        out |= self._embedding_distances()
        if mauve:
            out["mauve"] = self._mauve()
        out |= self._reference_overlap()
        out |= self._single_texts()
        return out

    def _mmd(self, suffix: str, x: np.ndarray | None, y: np.ndarray | None) -> dict[str, Figure]:
        names = f"mmd{suffix}", f"mmd2{suffix}"
        problem = _embedding_problem(x, y)
        if problem:
            return {name: undefined(problem) for name in names}
        h = self.ref.unseen_bandwidth if suffix else self.ref.bandwidth
        if not h > 0:
            return {name: undefined("all human embeddings are equal: no bandwidth") for name in names}
        floor = self.ref.mmd2_unseen_floor if suffix else self.ref.mmd2_floor
        statistic = quadratic.UStatistic(embedding.rbf(x, x, h), embedding.rbf(y, y, h), embedding.rbf(x, y, h), self.paired)
        value, rounds = statistic.value(), statistic.resample(self.w, self.v)
        p = p_value(value, statistic.permuted(self.rounds, self.seed))
        squared = figure(value, rounds, p=p, human=(float(floor.mean()), *interval(floor)))
        root = Figure(*(float(signed_root(f)) for f in (squared.value, squared.low, squared.high)), p,
                      *(float(signed_root(f)) for f in (squared.human, squared.human_low, squared.human_high)),
                      rounds=signed_root(squared.rounds))
        return {names[0]: root, names[1]: squared}

    def _tokens(self) -> dict[str, Figure]:
        names = [f"token_l2_{n}" for n in NGRAM_ORDERS] + ["jsd"]
        if self.x.token_ids is None or self.y.token_ids is None:
            return {name: undefined("no token ids") for name in names}
        documents = [*self.x.token_ids, *self.y.token_ids]
        vocab = 1 + max((max(d) for d in documents if len(d)), default=0)
        out, n = {}, len(self.x)
        for order in NGRAM_ORDERS:
            keys, document = ngrams.ngram_keys(documents, order, vocab, self.ref.exclude)
            counts, _ = ngrams.count_matrix(keys, document, len(documents))
            totals = np.asarray(counts.sum(1)).ravel()
            if not totals[:n].sum() or not totals[n:].sum():
                out |= {f"token_l2_{order}": undefined(f"no {order}-grams")} | ({"jsd": undefined("no tokens")} if order == 1 else {})
                continue
            out[f"token_l2_{order}"] = self._l2(counts, totals)
            if order == 1:
                out["jsd"] = self._jsd(counts[:n], counts[n:])
        return out

    def _l2(self, counts, totals: np.ndarray) -> Figure:
        n, gram = len(self.x), ngrams.gram(counts)

        def squared(x: np.ndarray, y: np.ndarray, gram: np.ndarray = gram, totals: np.ndarray = totals) -> np.ndarray:
            z = x / (x @ totals)[:, None] - y / (y @ totals)[:, None]
            return np.maximum(quadratic.forms(z, gram, z), 0)

        frequency = lambda part: np.asarray(part.sum(0)).ravel() / part.sum()
        value = float(np.linalg.norm(frequency(counts[:n]) - frequency(counts[n:])))
        drawn = squared(np.pad(self.w, ((0, 0), (0, len(self.y)))), np.pad(self.v, ((0, 0), (n, 0))))
        rng = np.random.default_rng([self.seed, 4])
        swapped = (quadratic.swap_within_pairs(rng, self.rounds, n) if self.paired
                   else quadratic.random_subsets(rng, self.rounds, len(totals), n))
        null = np.sqrt(squared(swapped, 1 - swapped))
        halves = squared(self.ref.halves, 1 - self.ref.halves, gram[n:, n:], totals[n:])
        floor = np.sqrt(halves / 2)  # halves have twice the variance of n with n texts
        on_square = figure(value**2, drawn)  # centred where the plug-in bias is additive
        rounds = np.sqrt(np.maximum(on_square.rounds, 0))
        return Figure(value, *interval(rounds), p_value(value, null), float(floor.mean()), *interval(floor), rounds=rounds)

    def _jsd(self, x, y) -> Figure:
        pooled = lambda counts: np.asarray(counts.sum(0)).ravel()
        value = ngrams.jsd(pooled(x), pooled(y))
        floor = self.ref.split_floor("jsd", lambda a, b: ngrams.jsd(pooled(y[a]), pooled(y[b])))
        return figure(float(value), ngrams.jsd_rounds(x, y, self.w, self.v), human=_floor(floor))

    def _embedding_distances(self) -> dict[str, Figure]:
        x, y = self.x.embeddings, self.y.embeddings
        problem = _embedding_problem(x, y)
        if problem:
            return {name: undefined(problem) for name in ("frechet", "c2st")}
        floor = self.ref.split_floor("frechet", lambda a, b: embedding.frechet(y[a], y[b]))
        frechet = figure(embedding.frechet(x, y), embedding.frechet_rounds(x, y, self.w, self.v),
                         human=_floor(floor))
        if min(len(x), len(y)) < 20:
            return {"frechet": frechet, "c2st": undefined("fewer than 20 texts")}
        correct = embedding.c2st_correct(x, y, self.paired, self.seed)
        n = len(x)
        accuracy = lambda w, v: ((w @ correct[:n]) + (v @ correct[n:])) / (w.sum(-1) + v.sum(-1))
        c2st = figure(float(correct.mean()), accuracy(self.w, self.v), human=_floor(self.ref.c2st_floor))
        return {"frechet": frechet, "c2st": c2st}

    def _mauve(self) -> Figure:
        try:
            import mauve
        except ImportError:
            return undefined("install dftfast[mauve]")
        if self.x.embeddings is None or self.y.embeddings is None:
            return undefined("no embeddings")
        result = mauve.compute_mauve(p_features=self.y.embeddings, q_features=self.x.embeddings, seed=self.seed, verbose=False)
        return Figure(float(result.mauve))

    def _reference_overlap(self) -> dict[str, Figure]:
        if not self.paired:
            return {name: undefined("outputs and reference answer different prompts") for name in ("chrf", "bleu")}
        out = {}
        for name, statistics, score in (("chrf", overlap.chrf_statistics, overlap.chrf),
                                        ("bleu", overlap.bleu_statistics, overlap.bleu)):
            values = statistics(self.x.texts, self.y.texts)
            out[name] = figure(float(score(values.sum(0))), score(self.w @ values))
        return out

    def _single_texts(self) -> dict[str, Figure]:
        x, y = text_stats.per_text(self.x.texts, self.ref.scripts), self.ref.per_text
        out = {"self_bleu": self._mean(overlap.self_bleu(self.x.texts), self.ref.self_bleu, test=False)}
        for name in ("same_start", "foreign_script", "em_dash", "type_token_ratio", "mtld"):
            out[name] = self._mean(x[name], y[name])
        out["length_mean"] = self._mean(x["length"], y["length"])
        out["length_sd"] = figure(float(x["length"].std()), _weighted_sd(x["length"], self.w),
                                  human=_single(float(y["length"].std()), _weighted_sd(y["length"], self.v)))
        reasons = self.x.finish_reason
        if reasons is None or any(r is None for r in reasons):
            out["cut_by_length"] = undefined("finish reasons are not known")
        else:
            cut = np.array([r == "length" for r in reasons], dtype=np.float64)
            out["cut_by_length"] = figure(float(cut.mean()), self.w @ cut / len(cut))
        return out

    def _mean(self, x: np.ndarray, y: np.ndarray, test: bool = True) -> Figure:
        """Mean over the texts that have the statistic; p of a permutation test of the difference of means."""
        if not np.isfinite(x).any() or not np.isfinite(y).any():
            return undefined("the texts are too short")
        value, human = float(np.nanmean(x)), float(np.nanmean(y))
        p = self._mean_difference_p(x, y) if test else None
        return figure(value, _weighted_mean(x, self.w), p=p, human=_single(human, _weighted_mean(y, self.v)))

    def _mean_difference_p(self, x: np.ndarray, y: np.ndarray) -> float:
        rng = np.random.default_rng([self.seed, 5])
        if self.paired:
            d = x - y
            d = d[np.isfinite(d)]
            null = np.abs(rng.choice([-1.0, 1.0], size=(self.rounds, len(d))) @ d)
            return p_value(abs(d.sum()), null)
        x, y = x[np.isfinite(x)], y[np.isfinite(y)]
        pooled = np.r_[x, y] - np.r_[x, y].mean()
        first = quadratic.random_subsets(rng, self.rounds, len(pooled), len(x))
        return p_value(abs(pooled[:len(x)].sum()), np.abs(first @ pooled))


def _embedding_problem(x: np.ndarray | None, y: np.ndarray | None) -> str | None:
    if x is None or y is None:
        return "no embeddings"
    if x.shape[1] != y.shape[1]:
        raise UserError(f"outputs have {x.shape[1]}-dimensional embeddings, the reference {y.shape[1]}: use one embedder")
    return None


def _floor(values: np.ndarray) -> tuple[float, float, float]:
    return float(values.mean()), float(values.min()), float(values.max())


def _single(value: float, rounds: np.ndarray) -> tuple[float, float, float]:
    of_human = figure(value, rounds)
    return of_human.value, of_human.low, of_human.high


def _weighted_mean(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    has = np.isfinite(x)
    return w[:, has] @ x[has] / np.maximum(w[:, has].sum(1), 1e-9)


def _weighted_sd(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    mean = w @ x / w.sum(1)
    return np.sqrt(np.maximum(w @ x**2 / w.sum(1) - mean**2, 0))
