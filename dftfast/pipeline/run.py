"""What the stages of a run share: its folder, its texts, its models."""

from __future__ import annotations

import logging
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dftfast.config import Config
from dftfast.data import (
    Document,
    Split,
    check_sizes,
    docstring_corpus,
    load_corpus,
    prompt_messages,
    split_corpus,
)
from dftfast.data.blend import load_blend
from dftfast.data.document import sample_number
from dftfast.data.generations import generation
from dftfast.data.load import with_token_counts
from dftfast.dft.stored_rollouts import generate
from dftfast.distribution.samples import Samples
from dftfast.model.config import ModelConfig
from dftfast.model.device import pick_dtype
from dftfast.model.embedder import Embedder
from dftfast.model.policy import Policy
from dftfast.model.pretrained import resolve_model
from dftfast.model.tokenizer import Tokenizer
from dftfast.optimise.checkpoint import Checkpoints
from dftfast.optimise.distributed import map_over_ranks, on_rank0, pick_own_device
from dftfast.optimise.log import RunLog
from dftfast.optimise.packing import Example
from dftfast.optimise.tracker import pick_tracker
from dftfast.pipeline.context_room import ContextRoom
from dftfast.pipeline.draws_kept import add_draws, draws_there
from dftfast.pipeline.run_folder import RunFolder
from dftfast.rollout import Request, RolloutEngine, Sampler

log = logging.getLogger(__name__)
DEFAULT_CORPUS_TEXTS = 480  # of the built-in corpus, so that a first run takes minutes
CPU_SEQUENCES, GPU_SEQUENCES = 128, 512  # that sample at once


class Run:
    """One run of the main job in `config.run.folder`; what it holds is made when first asked for.

    Attributes:
        folder: the lock on the run folder and its record of finished stages, on rank 0 while
            the stages run.
    """

    folder: RunFolder

    def __init__(self, config: Config):
        self.config = config
        if config.run.threads:
            torch.set_num_threads(config.run.threads)
        self.device = pick_own_device(config.model.device)
        self.path = Path(config.run.folder)

    def with_config(self, config: Config) -> Run:
        """A run of another configuration of the same model and data, which are not read again."""
        other = Run(config)
        for name in ("model_folder", "tokenizer", "uncounted_split", "context_room", "split"):
            if name in vars(self):
                vars(other)[name] = vars(self)[name]
        return other

    def checkpoints(self, loop: str | Path) -> Checkpoints:
        """Those of a training loop, named stage/loop."""
        c = self.config.run
        return Checkpoints(
            self.path / "checkpoints" / loop, c.checkpoint_seconds, c.checkpoint_steps
        )

    @cached_property
    def log(self) -> RunLog:
        tracker = pick_tracker(self.config.run.tracker)
        return RunLog(self.path, tracker, self.config.model_dump(mode="json"))

    @cached_property
    def model_folder(self) -> Path:
        return resolve_model(self.config.model.name)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        tokenizer = Tokenizer.from_folder(self.model_folder, self.config.model.date)
        tokenizer.check_fits(ModelConfig.from_folder(self.model_folder).vocab_size)
        return tokenizer

    @cached_property
    def embedder(self) -> Embedder:
        return Embedder(self.config.evaluation.embedder)

    @cached_property
    def split(self) -> Split:
        """The three parts of the corpus, their lengths counted in the model's tokens, without the
        texts that the model's context cannot hold."""
        parts = vars(self.uncounted_split)
        counted = {name: with_token_counts(part, self.tokenizer) for name, part in parts.items()}
        fitting = {
            name: self.context_room.fitting(part, name.replace("_", "-"))
            for name, part in counted.items()
        }
        check_sizes(fitting, len(self.uncounted_split.train))
        return Split(**fitting)

    @cached_property
    def context_room(self) -> ContextRoom:
        config = ModelConfig.from_folder(self.model_folder)
        return ContextRoom(self.tokenizer, config.max_position_embeddings)

    @cached_property
    def uncounted_split(self) -> Split:
        """The parts as they are read, for which no model is needed: bad data is refused first."""
        c = self.config.data
        train = c.train or [docstring_corpus()]
        options = {"skip_bad_lines": c.skip_bad_lines, "max_words": c.max_words}
        if c.blend:
            documents = load_blend(train, c.blend, limit=c.limit, **options)
        else:
            documents = load_corpus(train, limit=c.limit, **options)
        held_out = load_corpus(c.held_out, **options) if c.held_out else None
        return split_corpus(documents, c.validation_share, c.held_out_share, held_out)

    @property
    def max_texts(self) -> int | None:
        """Texts to fine-tune on at most; a corpus that the user names is used whole."""
        c = self.config
        return c.sft.max_texts or (None if c.data.train else DEFAULT_CORPUS_TEXTS)

    @cached_property
    def held_out(self) -> list[Document]:
        return self.split.held_out[: self.config.evaluation.prompts]

    @cached_property
    def validation(self) -> list[Document]:
        """The validation documents whose prompts are answered, and whose likelihood chooses."""
        return self.split.validation[: self.config.dft.validation_prompts]

    @cached_property
    def max_tokens(self) -> int:
        """Length limit of every rollout: half as much again as the longest training text, or what
        the model's context leaves beside the longest prompt."""
        longest = max(document.target_tokens or 0 for document in self.split.train)
        wanted, context = int(1.5 * longest) + 1, self.context_room.context
        documents = [document for part in vars(self.split).values() for document in part]
        prompt = self.context_room.longest_prompt(documents, context - wanted)
        if context - prompt < wanted:
            log.warning(
                "answers are at most %d tokens long, not %d (half as much again as the longest "
                "text): a prompt of %d tokens leaves no more of the model's context of %d",
                *(context - prompt, wanted, prompt, context),
            )
        return min(wanted, context - prompt)

    def policy(self, folder: Path) -> Policy:
        policy = Policy(
            folder,
            pick_dtype(self.config.model.dtype, self.device),
            self.device,
            self.config.run.shard,
            self.config.model.quantization,
        )
        policy.decoder.set_activation_checkpointing(self.config.run.activation_checkpointing)
        return policy

    def engine(self, policy: Policy) -> RolloutEngine:
        """Samples from the policy; on a CPU from a bf16 copy, as it will be served."""
        eight_bits = self.config.rollout.precision == "fp8"
        dtype = torch.float8_e4m3fn if eight_bits else None
        if self.device.type == "cpu":
            dtype = dtype or torch.bfloat16
            return RolloutEngine(
                policy.decoder, self.tokenizer, max_sequences=CPU_SEQUENCES, dtype=dtype
            )
        return RolloutEngine(
            policy.decoder,
            self.tokenizer,
            max_sequences=GPU_SEQUENCES,
            max_step_tokens=8192,
            dtype=dtype,
        )

    def examples(self, documents: list[Document]) -> list[Example]:
        """The documents as token ids: the brief as a chat, the text closed by the end token."""
        texts = self.tokenizer.encode_batch([document.text for document in documents])
        end = self.tokenizer.eos_ids[0]
        return [
            Example(self.tokenizer.chat(prompt_messages(d)), [*ids, end])
            for d, ids in zip(documents, texts)
        ]

    def samples(self, documents: list[Document]) -> Samples:
        """Human texts as the discrepancies see them: embedded, and as tokens with the end token."""
        texts, examples = [document.text for document in documents], self.examples(documents)
        return Samples.of(self.embed(texts), [e.completion for e in examples], texts)

    def embed(self, texts: list[str], embedder: Embedder | None = None) -> Tensor:
        """fp32 [texts, d] on the run's device; processes share the work."""
        embedder = embedder or self.embedder
        rows = map_over_ranks(
            lambda part: list(embedder.encode(part).numpy()), texts, [len(text) for text in texts]
        )
        return torch.from_numpy(np.stack(rows)).to(self.device)

    def answer(
        self,
        engine: RolloutEngine,
        documents: list[Document],
        samplers: dict[Path, Sampler],
        stage: str,
        draws: int | None = None,
    ) -> None:
        """Write answers to each document to each path, by its sampler.

        A draw stands after the one before it in the file, and its seed is one more. Draws that are
        there already are not sampled again. A prompt's requests lie side by side, so that its keys
        and values are computed once. What is sampled is kept with the checkpoints of `stage` until
        that is done.

        Args:
            draws: to each document; none is `evaluation.draws`.
        """
        missing = self.missing_draws(documents, samplers, draws)
        if not missing:
            return
        examples, seed = self.examples(documents), self.config.run.seed
        # the id of a request, and so its answer, depends on its document alone: not on what else
        # is missing, nor on the rows around it
        requests = [
            Request(
                sample_number(f"{document.id}\0{path.stem}\0{draw}"),
                example.prompt,
                samplers[path],
                seed + draw,
            )
            for document, example in zip(documents, examples)
            for path, draw in missing
        ]
        lengths = [len(example.completion) for example in examples for _ in missing]
        folder = self.checkpoints(stage).folder
        batches = generate(engine, requests, folder, stage, lengths)
        outputs = [
            (batch.output(i), reason)
            for batch in batches
            for i, reason in enumerate(batch.finish_reason)
        ]
        for path in dict.fromkeys(path for path, _ in missing):
            drawn = []
            for place, (other, draw) in enumerate(missing):
                if other == path:
                    settings = samplers[path].settings | {"seed": seed + draw}
                    answers = zip(documents, outputs[place :: len(missing)])
                    drawn.append([self._row(d, *a, settings, path.stem) for d, a in answers])
            on_rank0(lambda: add_draws(path, drawn))

    def _row(
        self, document: Document, output: list[int], reason: str, settings: dict, model: str
    ) -> dict:
        text = self.tokenizer.decode(output).strip()
        return generation(document, text, output, reason, settings, model)

    def missing_draws(
        self,
        documents: list[Document],
        samplers: dict[Path, Sampler],
        draws: int | None = None,
    ) -> list[tuple[Path, int]]:
        """Each file and draw of it, from 0, that `answer` has still to sample."""
        ids = [document.id for document in documents]
        there = on_rank0(lambda: {path: len(draws_there(path, ids)) for path in samplers})
        wanted = range(draws or self.config.evaluation.draws)
        return [(path, draw) for path in samplers for draw in wanted if draw >= there[path]]
