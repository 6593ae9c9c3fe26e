"""A zero-shot detector: how much likelier a text is than what the model would write itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from dftfast.endpoint import AnswerCache
from dftfast.endpoint.cache import digest
from dftfast.evaluation.local_model import LocalModel
from dftfast.model.attention import packed_causal
from dftfast.runtime.errors import UserError

MOST_TOKENS = 1024  # of a text; a longer one is judged by its beginning
LEAST_TOKENS = 16  # of a text that can be judged
LOGIT_BYTES = 64 << 20  # of one block of logits
FALSE_ALARMS = 0.05  # share of the calibration texts that are not called human
LEAST_CALIBRATION = 20  # human texts of at least that many tokens
BATCH_TOKENS = 4096


class CurvatureDetector:
    """Conditional probability curvature (Fast-DetectGPT; Bao et al., ICLR 2024, eq. 5).

        d(x) = Σ_j (log p(x_j | x_<j) − E_q[log p(v | x_<j)]) / sqrt(Σ_j Var_q[log p(v | x_<j)]),

    p the scoring model, q the sampling model (the same one where only one is given), v drawn from
    q. A text that a language model wrote lies where p is high beside its alternatives: large d. The
    scale of d depends on the models and the kind of text, so it is calibrated on human texts: the
    probability is 1 / (1 + exp((d − t) / s)), where t is the value that 5% of them exceed and s
    their spread. "Called human" so means a false alarm on 5% of such texts; it is not a posterior.

    Args:
        models: scoring model, and the sampling model where it is another; both must have the same
            tokens.
        calibration: human texts.
    """

    def __init__(
        self,
        name: str,
        models: Sequence[str],
        calibration: Sequence[str],
        cache: AnswerCache,
        device: str | None = None,
    ):
        self.name, self.about = name, "curvature under " + " and ".join(models)
        self._score = LocalModel(models[0], device)
        self._sample = LocalModel(models[1], device) if len(models) > 1 else self._score
        if (
            self._sample.tokenizer.vocab_size != self._score.tokenizer.vocab_size
            or self._sample.tokenizer.encode(_PROBE) != self._score.tokenizer.encode(_PROBE)
        ):
            raise UserError(
                f"detector {name}: {models[0]} and {models[1]} have different tokens; curvature "
                "compares token by token"
            )
        self._cache, self._calibration = cache, calibration

    def human_probability(
        self, texts: Sequence[str], progress: Callable[[int], object] = lambda n: None
    ) -> np.ndarray:
        """Probability that a person wrote each text.

        Raises:
            UserError: too few human texts are long enough to calibrate with.
        """
        human = self.curvature(self._calibration)
        human = human[np.isfinite(human)]
        if len(human) < LEAST_CALIBRATION:
            raise UserError(
                f"detector {self.name}: {len(human)} human texts are long enough to calibrate it; "
                f"at least {LEAST_CALIBRATION} are needed"
            )
        threshold, spread = np.quantile(human, 1 - FALSE_ALARMS), max(human.std(), 1e-6)
        d = self.curvature(texts, progress)
        for model in (self._score, self._sample):
            model.release()
        return 1 / (1 + np.exp(np.clip((d - threshold) / spread, -500, 500)))

    def curvature(
        self, texts: Sequence[str], progress: Callable[[int], object] = lambda n: None
    ) -> np.ndarray:
        """d of each text, float64 [n]; NaN below 16 tokens."""
        values = np.full(len(texts), np.nan)
        keys = [
            digest("curvature", self._score.fingerprint, self._sample.fingerprint, text)
            for text in texts
        ]
        batch: list[tuple[int, list[int]]] = []
        try:
            for k, (text, key) in enumerate(zip(texts, keys)):
                if key in self._cache:
                    values[k] = self._cache.get(key)
                    progress(1)
                    continue
                tokens = self._score.tokenizer.encode(text)[: self._most_tokens]
                if len(tokens) < LEAST_TOKENS:
                    progress(1)
                    continue
                batch.append((k, tokens))
                if sum(len(t) for _, t in batch) >= BATCH_TOKENS:
                    self._measure(batch, keys, values, progress)
                    batch = []
            self._measure(batch, keys, values, progress)
        finally:
            self._cache.close()
        return values

    @property
    def _most_tokens(self) -> int:
        return min(MOST_TOKENS, self._score.context, self._sample.context)

    def _measure(
        self, batch: list[tuple[int, list[int]]], keys: list[str], values: np.ndarray, progress
    ) -> None:
        if not batch:
            return
        lengths = [len(tokens) - 1 for _, tokens in batch]  # the first token is only read
        terms = self._terms([tokens for _, tokens in batch]).split(lengths)
        for (k, _), of_text in zip(batch, terms):
            observed, expected, variance = of_text.sum(0).tolist()
            values[k] = (observed - expected) / max(variance, 1e-12) ** 0.5
            self._cache.put(keys[k], values[k])
        progress(len(batch))

    @torch.no_grad()
    def _terms(self, documents: list[list[int]]) -> torch.Tensor:
        """log p(x_j), E_q[log p], Var_q[log p] of the tokens, float64 [T, 3].

        The first token of each document is only read.
        """
        device = self._score.decoder.embed.device
        tokens = torch.tensor([t for d in documents for t in d[:-1]], device=device)
        target = torch.tensor([t for d in documents for t in d[1:]], device=device)
        positions = torch.cat([torch.arange(len(d) - 1, device=device) for d in documents])
        offsets = torch.tensor([0, *(len(d) - 1 for d in documents)], device=device).cumsum(0)
        states = {
            id(m): m.decoder(tokens, positions, packed_causal(offsets))
            for m in (self._score, self._sample)
        }
        heads = {id(m): m.decoder.head_weight for m in (self._score, self._sample)}
        vocabulary = min(map(len, heads.values()))  # one may be padded further than the other
        out = torch.empty(len(tokens), 3, dtype=torch.float64)
        step = max(1, LOGIT_BYTES // (4 * vocabulary))
        for start in range(0, len(tokens), step):
            part = slice(start, start + step)
            logits = lambda m: (states[id(m)][part] @ heads[id(m)][:vocabulary].T).float()
            p = logits(self._score).log_softmax(-1)
            q = p.exp() if self._sample is self._score else logits(self._sample).softmax(-1)
            mean = (q * p).sum(-1)
            variance = (q * (p - mean[:, None]) ** 2).sum(-1)
            observed = p.gather(1, target[part][:, None])[:, 0]
            out[part] = torch.stack([observed, mean, variance], 1).double().cpu()
        return out


_PROBE = "The quick brown fox, 1234: caf\u00e9 \u2014 \u4e2d\u6587!"
