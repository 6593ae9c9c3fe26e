"""The rollout engine: requests in, samples out, on the very weights that are being trained."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

import torch

from dftfast.rollout.batch import RolloutBatch, agreement
from dftfast.rollout.blocks import BlockPool
from dftfast.rollout.cpu import PackedDecoder
from dftfast.rollout.drawing import draw
from dftfast.rollout.fp8 import Fp8Decoder, check_fp8
from dftfast.rollout.free_memory import free_memory
from dftfast.rollout.graphs import GraphedDecoder
from dftfast.rollout.memory import cache_bytes_per_token
from dftfast.rollout.paged import Inputs, PagedDecoder
from dftfast.rollout.refusals import check_requests
from dftfast.rollout.request import Request, Sequence, sequences_of
from dftfast.rollout.scheduler import Scheduler
from dftfast.rollout.text import TextStream, holds_stop_string
from dftfast.runtime.profile import stage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StreamedToken:
    """One token of `RolloutEngine.stream`.

    `text` is what it adds to the sample's text (empty inside a character).
    """

    sample: int
    token: int
    text: str
    logprob: float
    finish_reason: str | None


class RolloutEngine:
    """Continuous batching over a paged cache, in the process and on the weights of the trainer.

    Args:
        decoder: the policy (`dftfast.model.Decoder`); a change of its `version` empties the cache
            of prefixes.
        tokenizer: needed for stop strings and for `stream`'s text; its end tokens end samples, like
            the model's.
        max_sequences: sequences that run at once.
        max_step_tokens: tokens of one forward pass at most: running samples first, then chunks of
            prompts.
        cache_tokens: size of the cache in tokens; by default `memory_share` of the free memory, and
            no more than `max_sequences` full contexts. It is taken at the first use and given up by
            `release`.
        agreement_samples: that many samples of each rollout are scored again with the training
            forward, and the differences put into `RolloutBatch.agreement`; 0 for none.
        dtype: bfloat16 lets a CPU sample from a bf16 copy of a decoder in float32, faster and in
            half the memory; float8_e4m3fn samples from an eight-bit copy (`dftfast.rollout.fp8`),
            on cards that can; how far it is from the training forward is logged. By default the
            decoder's own.

    Attributes:
        memory_share: of the free memory, what the cache takes where `cache_tokens` is not given; a
            change holds from the next time that the cache is taken.
        block_size: tokens of one block of the cache.
    """

    memory_share = 0.5
    block_size = 16

    def __init__(
        self,
        decoder,
        tokenizer=None,
        *,
        max_sequences: int = 128,
        max_step_tokens: int = 1024,
        cache_tokens: int | None = None,
        agreement_samples: int = 4,
        dtype: torch.dtype | None = None,
    ):
        self.decoder, self.tokenizer = decoder, tokenizer
        self.max_sequences, self.max_step_tokens = max_sequences, max_step_tokens
        self.cache_tokens, self.agreement_samples = cache_tokens, agreement_samples
        self.device, self.dtype = decoder.embed.device, dtype or decoder.embed.dtype
        self.end_tokens = set(decoder.config.eos_token_ids) | set(
            tokenizer.eos_ids if tokenizer else ()
        )
        self.backend = self._backend()
        self.scheduler: Scheduler | None = None  # with the cache: None while that is given up
        self._cancelled: set[int] = set()
        self._busy = False

    @stage("rollout")
    def generate(
        self,
        requests: Iterable[Request],
        progress: Callable[[int, int], None] | None = None,
        on_sample: Callable[[Sequence], None] | None = None,
    ) -> RolloutBatch:
        """All samples of all requests.

        Args:
            progress: called with (finished samples, all samples) whenever that changes.
            on_sample: called with every sample as soon as it is finished.

        Raises:
            UserError: a request that can never fit, an id used twice, a token outside the
                vocabulary; before anything is computed.
        """
        requests = list(requests)
        started, finished = time.perf_counter(), 0
        sequences = [sequence for request in requests for sequence in sequences_of(request)]
        with closing(self._run(requests, sequences)) as steps:
            for advanced in steps:
                newly = [each for each in advanced if each.finish_reason is not None]
                finished += len(newly)
                if newly and progress:
                    progress(finished, len(sequences))
                for sequence in newly:
                    if on_sample:
                        on_sample(sequence)
        batch = RolloutBatch.from_sequences(sequences, self.device)
        if self.agreement_samples:
            batch.agreement = agreement(self.decoder, batch, self.agreement_samples)
            level = logging.INFO if self.dtype == torch.float8_e4m3fn else logging.DEBUG
            log.log(level, "sampler against training forward: %s", batch.agreement)
        seconds = time.perf_counter() - started
        log.debug(
            "%d samples, %d tokens in %.1f s (%.0f a second), %.1f%% cut by the length limit, "
            "%d preemptions",
            len(batch),
            len(batch.tokens),
            seconds,
            len(batch.tokens) / seconds,
            100 * batch.cut_share,
            self._planner.preemptions,
        )
        return batch

    def stream(self, request: Request) -> Iterator[StreamedToken]:
        """Token by token, as they are sampled.

        Closing the iterator frees everything that it holds.
        """
        sequences = sequences_of(request)
        texts = [TextStream(self.tokenizer) if self.tokenizer else None for _ in sequences]
        with closing(self._run([request], sequences)) as steps:
            for advanced in steps:
                for sequence in advanced:
                    if sequence.finish_reason == "cancelled":
                        continue
                    token, text = sequence.tokens[-1], texts[sequence.sample]
                    added = text.add(token, last=sequence.finish_reason is not None) if text else ""
                    yield StreamedToken(
                        sequence.sample, token, added, sequence.logprobs[-1], sequence.finish_reason
                    )

    def cancel(self, request_id: int) -> None:
        """End a request's samples before the next step, with the reason "cancelled".

        Any thread may call it.
        """
        self._cancelled.add(request_id)

    def release(self) -> None:
        """Give up the cache's memory (for the training step); the next rollout takes it again."""
        if self._busy:
            raise RuntimeError(
                "the engine is in the middle of a rollout: its cache cannot be released"
            )
        self.backend.release()
        self.scheduler = None

    @property
    def _planner(self) -> Scheduler:
        assert self.scheduler is not None, "the cache is not taken"
        return self.scheduler

    def _backend(self) -> PagedDecoder:
        if self.dtype == torch.float8_e4m3fn:
            check_fp8(self.decoder)
            return Fp8Decoder(self.decoder, self.block_size, self.max_sequences)
        if self.decoder.sharded:  # a graph or a packed copy would need all weights at once
            return PagedDecoder(self.decoder, self.block_size)
        if self.device.type == "cuda":
            return GraphedDecoder(self.decoder, self.block_size, self.max_sequences)
        if self.dtype == torch.bfloat16 and PackedDecoder.supports(self.decoder, self.block_size):
            return PackedDecoder(self.decoder, self.block_size)
        self.dtype = self.decoder.embed.dtype
        return PagedDecoder(self.decoder, self.block_size)

    def _run(
        self, requests: list[Request], sequences: list[Sequence]
    ) -> Generator[list[Sequence], None, None]:
        """Step until every sequence is finished; each step yields the sequences that it changed."""
        if self._busy:
            raise RuntimeError("the engine is in the middle of a rollout: close its stream first")
        self._busy = True
        try:
            self._take_cache()
            capacity = self._planner.pool.size * self.block_size
            check_requests(requests, self.decoder.config, capacity, self.tokenizer is not None)
            self._cancelled.clear()
            for sequence in sequences:
                if sequence.sample == 0:  # the others follow as its siblings
                    self._planner.add(sequence)
            self._planner.preemptions = 0
            while self._planner.running or self._planner.waiting:
                cancelled = self._drop_cancelled(sequences)
                if cancelled:
                    yield cancelled
                else:
                    yield self._step()
        finally:
            if self.scheduler and (self.scheduler.running or self.scheduler.waiting):
                self.scheduler.clear()
            self._busy = False

    def _step(self) -> list[Sequence]:
        step = self._planner.schedule()
        with torch.no_grad():
            if step.copies:
                self.backend.copy_blocks(step.copies)
            logits = self.backend.logits(Inputs.of(step, self.block_size, self.device))
            sampled, rows = [], []
            row = 0
            for sequence, count in step.work:
                sequence.computed += count
                if sequence.computed == len(sequence.tokens):
                    group = [sequence, *self._planner.fork(sequence)]
                    sampled += group
                    rows += [row] * len(group)
                    row += 1
            if not sampled:
                return []
            if len(rows) > row:
                logits = logits[torch.tensor(rows, device=logits.device)]
            drawn = draw(logits, sampled, self.end_tokens)
        for sequence, token, logprob, sampler_logprob, entropy in zip(sampled, *drawn):
            sequence.tokens.append(int(token))
            sequence.logprobs.append(logprob)
            sequence.sampler_logprobs.append(sampler_logprob)
            sequence.entropies.append(entropy)
            sequence.finish_reason = self._finish_reason(sequence)
            if sequence.finish_reason:
                self._planner.remove(sequence)
        return sampled

    def _finish_reason(self, sequence: Sequence) -> str | None:
        sampler, token = sequence.request.sampler, sequence.tokens[-1]
        if token in self.end_tokens or token in sampler.stop_token_ids:
            return "stop"
        generated = sequence.num_generated
        early = generated < sampler.min_tokens
        if sampler.stop_strings and not early and holds_stop_string(self.tokenizer, sequence):
            return "stop"
        return "length" if generated == sampler.max_tokens else None

    def _drop_cancelled(self, sequences: list[Sequence]) -> list[Sequence]:
        if not self._cancelled:
            return []
        ids, self._cancelled = self._cancelled, set()
        dropped = [s for s in sequences if s.request.id in ids and s.finish_reason is None]
        for sequence in dropped:
            sequence.finish_reason = "cancelled"
            self._planner.remove(sequence)
        return dropped

    def _take_cache(self) -> None:
        self.backend.update()  # first, so that what it takes is not counted as free
        if self.scheduler is None:
            config = self.decoder.config
            per_token = cache_bytes_per_token(config, self.dtype)
            free, tokens = free_memory(self.device), self.cache_tokens
            if tokens is None:
                share = int(self.memory_share * free)
                tokens = min(
                    share // per_token, self.max_sequences * config.max_position_embeddings
                )
            blocks = max(tokens // self.block_size, 1)
            self.backend.allocate(blocks)
            pool = BlockPool(blocks)
            self.scheduler = Scheduler(
                pool, self.block_size, self.max_sequences, self.max_step_tokens, self.backend.refill
            )
            size = blocks * self.block_size * per_token
            log.debug(
                "cache of %d tokens in %d blocks: %.2f GiB, %.1f%% of the %.2f GiB that are free",
                blocks * self.block_size,
                blocks,
                size / 2**30,
                100 * size / free,
                free / 2**30,
            )
        self.scheduler.set_version(self.decoder.version)
