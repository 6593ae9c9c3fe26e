"""The main job, stage by stage: SFT, sweep of samplers, DFT, evaluation and report.

Each stage leaves its output in the run folder and is skipped when that output is there and everything that it
depends on is unchanged.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from .config import Config
from .data import Document, Split, docstring_corpus, load_corpus, prompt_messages, split_corpus
from .data.generations import generation, read_generations, write_generations
from .distribution.samples import Samples
from .distribution.selection import make_terms, select_population
from .errors import UserError
from .evaluation import RIVAL, Reference, TextSet, evaluate, terminal_table, write_report, write_results
from .evaluation.embedding_cache import EmbeddingCache
from .files import atomic_file
from .model.adapter import Adapter
from .model.device import pick_dtype
from .model.embedder import Embedder
from .model.policy import Policy
from .model.pretrained import resolve_model
from .model.tokenizer import Tokenizer
from .model.weights import check_model
from .profile import profiling
from .rollout import Request, RolloutEngine, Sampler
from .signals import stop_on_signals
from .training.checkpoint import Checkpoints
from .training.dft import Task, run_phases
from .training.distributed import on_first, pick_own_device, rank, spread, world
from .training.fit import FitSettings, fit, nats_per_token
from .training.log import RunLog
from .training.packing import Example
from .training.policy_gradient import policy_gradient_phase
from .training.rivals import RIVALS
from .training.rollouts import sample
from .training.run_folder import RunFolder, digest, environment, write_json
from .training.selection import selection_phase

log = logging.getLogger(__name__)

METHODS = {"selection": selection_phase, "policy_gradient": policy_gradient_phase}


class Pipeline:
    """One run of the main job in ``config.run.folder``."""

    def __init__(self, config: Config):
        self.config = config
        if config.run.threads:
            torch.set_num_threads(config.run.threads)
        self.device = pick_own_device(config.model.device)
        self.path = Path(config.run.folder)

    def run(self) -> None:
        """Every stage that is not done yet, in order."""
        c = self.config
        tuned = (c.model, c.data, c.sft, c.run.seed)
        sampled = (*tuned, c.sweep, c.evaluation.prompts)
        trained = (*tuned, c.dft, c.evaluation.prompts, c.evaluation.embedder)
        rivals = [("rivals", (*trained, c.rivals), ["rivals", "generations/rivals"], self.rivals)] if c.rivals.methods else []
        stages = [
            ("sft", tuned, ["sft"], self.sft),
            ("sweep", sampled, ["generations/sft"], self.sweep),
            ("dft", trained, ["dft", "merged", "generations/dft.jsonl"], self.dft),
            *rivals,
            ("report", (*sampled, *trained, c.rivals, c.evaluation), ["results.json", "report.html"], self.report),
        ]
        on_first(self.check_input)
        with stop_on_signals(), ExitStack() as stack:
            on_first(lambda: self.take_folder(stack))
            if c.run.profile and rank() == 0:
                with profiling(self.path / "profile") as profile:
                    self.run_stages(stages)
                log.info("%s", profile.table())
            else:
                self.run_stages(stages)

    def check_input(self) -> None:
        """Bad input is refused before anything is written."""
        if self.config.run.shard and world() == 1:
            raise UserError("run.shard: there is one process; start several with torchrun")
        if self.config.run.shard and "full" in self.config.sft.method:
            raise UserError("run.shard: full fine-tuning (sft.method) needs all weights on every device; choose lora")
        check_model(self.model_folder)
        self.split

    def take_folder(self, stack: ExitStack) -> None:
        self.folder = stack.enter_context(RunFolder(self.path))
        with atomic_file(self.path / "config.yaml") as temporary:
            temporary.write_text(self.config.to_yaml(), encoding="utf-8")
        write_json(self.path / "environment.json", environment())

    def run_stages(self, stages: list[tuple]) -> None:
        self.open_log()
        for name, depends_on, outputs, work in stages:
            self.run_stage(name, digest([_plain(part) for part in depends_on]), outputs, work)
        self.log.close()

    def run_stage(self, name: str, inputs: str, outputs: list[str], work: Callable[[], None]) -> None:
        with ExitStack() as stack:
            if on_first(lambda: stack.enter_context(self.folder.stage(name, inputs, outputs))):
                work()
            else:
                log.info("%s: done already in %s", name, self.path)

    def checkpoints(self, loop: str | Path) -> Checkpoints:
        """Those of a training loop, named stage/loop."""
        c = self.config.run
        return Checkpoints(self.path / "checkpoints" / loop, c.checkpoint_seconds, c.checkpoint_steps)

    def open_log(self) -> None:
        self.log = RunLog(self.path, self.config.run.tensorboard)

    # What the stages share, made when first asked for.

    @cached_property
    def model_folder(self) -> Path:
        return resolve_model(self.config.model.name)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.from_folder(self.model_folder)

    @cached_property
    def embedder(self) -> Embedder:
        return Embedder(self.config.evaluation.embedder)

    @cached_property
    def split(self) -> Split:
        c = self.config.data
        options = {"skip_bad_lines": c.skip_bad_lines, "max_words": c.max_words, "tokenizer": self.tokenizer}
        documents = load_corpus(c.train or [docstring_corpus()], limit=c.limit, **options)
        held_out = load_corpus(c.held_out, **options) if c.held_out else None
        return split_corpus(documents, c.tuning_share, c.held_out_share, held_out)

    @cached_property
    def held_out(self) -> list[Document]:
        return self.split.held_out[: self.config.evaluation.prompts]

    @cached_property
    def max_tokens(self) -> int:
        """Length limit of every rollout: half as much again as the longest training text."""
        return int(1.5 * max(document.target_tokens for document in self.split.train)) + 1

    def examples(self, documents: list[Document]) -> list[Example]:
        """The documents as token ids: the brief as a chat, the text closed by the end token."""
        texts = self.tokenizer.encode_batch([document.text for document in documents])
        end = self.tokenizer.eos_ids[0]
        return [Example(self.tokenizer.chat(prompt_messages(d)), ids + [end]) for d, ids in zip(documents, texts)]

    # Stages.

    def sft_variants(self) -> dict[str, tuple[str, float, float]]:
        """Name -> (method, learning rate, share of the texts) of every fine-tuned model."""
        c = self.config.sft
        rates = {"lora": c.learning_rates, "full": c.full_learning_rates or c.learning_rates}
        return {f"{m} lr={r:g} data={f:g}": (m, r, f) for m in c.method for r in rates[m] for f in c.fractions}

    def sft(self) -> None:
        """Fine-tune every variant, keep them all, and note how well each predicts the tuning texts."""
        c = self.config.sft
        train, tuning = self.examples(self.split.train[: c.max_texts]), self.examples(self.split.tuning)
        file = self.path / "sft" / "results.json"
        results = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        for name, (method, rate, fraction) in self.sft_variants().items():
            if name in results:
                continue
            policy = self.policy(self.model_folder)
            if method == "lora":
                parameters = policy.begin_phase(c.rank, c.alpha, self.config.run.seed)
            else:
                parameters = [parameter.requires_grad_() for parameter in policy.decoder.parameters()]
            settings = FitSettings(
                *(rate, c.epochs, c.batch_tokens, c.micro_tokens, c.warmup, c.weight_decay, c.grad_clip, c.loss_limit)
            )
            texts = train[: round(fraction * len(train))]
            steps, checkpoints = self.log.steps(f"sft {name}"), self.checkpoints(f"sft/{name}")
            fit(policy.decoder, parameters, texts, settings, self.config.run.seed, steps, checkpoints=checkpoints)
            if method == "lora":
                adapter = policy.end_phase()
                on_first(lambda: adapter.save(self.path / "sft" / name, self.model_folder))
            else:
                on_first(lambda: policy.save(self.path / "sft" / name))
            results[name] = {"texts": len(texts), "tuning_nats": nats_per_token(policy.decoder, tuning)}
            log.info("sft %s: %.3f nats a token on the tuning texts", name, results[name]["tuning_nats"])
            on_first(lambda: write_json(file, results))

    def policy(self, folder: Path) -> Policy:
        policy = Policy(folder, pick_dtype(self.config.model.dtype, self.device), self.device, self.config.run.shard)
        policy.decoder.set_recompute(self.config.run.recompute)
        return policy

    def sft_policy(self, name: str, temperature: float = 1.0) -> Policy:
        """A fine-tuned model of the ``sft`` stage, with this temperature baked in."""
        folder, lora = self.path / "sft" / name, self.sft_variants()[name][0] == "lora"
        policy = self.policy(self.model_folder if lora else folder)
        if lora:
            policy.adapters.append(Adapter.load(folder))
        policy.temperature = temperature
        policy.materialise()
        return policy

    def sweep(self) -> None:
        """Answer the held-out prompts with every fine-tuned model at every setting of the sampler."""
        documents = self.held_out[: self.config.sweep.prompts]
        for name in self.sft_variants():
            missing = {path: sampler for path, sampler in self.sweep_files(name).items() if not path.exists()}
            if missing:
                engine = RolloutEngine(self.sft_policy(name).decoder, self.tokenizer)
                for path, sampler in missing.items():
                    self.answer(engine, documents, sampler, path)

    def sweep_files(self, variant: str) -> dict[Path, Sampler]:
        c = self.config.sweep
        grid = [(t, p, k) for t in c.temperatures for p in c.top_p for k in c.top_k]
        folder = self.path / "generations" / "sft"
        return {
            folder / f"{variant} T={t:g} top-p={p:g} top-k={k}.jsonl": Sampler(t, k, p, max_tokens=self.max_tokens)
            for t, p, k in grid
        }

    @property
    def dft_sampler(self) -> Sampler:
        return Sampler(self.config.dft.temperature, max_tokens=self.max_tokens)

    def dft(self) -> None:
        """Train the phases from the best fine-tuned model; answer the held-out prompts at the one fixed sampler."""
        task = self.dft_task(self.path / "dft")
        run_phases(task, METHODS[self.config.dft.method])
        on_first(lambda: task.policy.save(self.path / "merged"))
        self.answer(task.engine, self.held_out, self.dft_sampler, self.path / "generations" / "dft.jsonl")

    def rivals(self) -> None:
        """The same as ``dft`` by each other method that was asked for."""
        for name, path in self.rival_files().items():
            if path.exists():
                continue
            task = self.dft_task(self.path / "rivals" / name)
            if name == "select":
                rows = self.selected_answers(task)
                on_first(lambda: write_generations(path, rows))
            else:
                run_phases(task, RIVALS[name])
                self.answer(task.engine, self.held_out, self.dft_sampler, path)

    def rival_files(self) -> dict[str, Path]:
        folder = self.path / "generations" / "rivals"
        return {name: folder / f"{RIVAL}{name}.jsonl" for name in self.config.rivals.methods}

    def dft_task(self, folder: Path) -> Task:
        """The model to start from, with its temperature baked in, and the texts that a phase needs."""
        c = self.config.dft
        folder.mkdir(parents=True, exist_ok=True)
        fitted = json.loads((self.path / "sft" / "results.json").read_text(encoding="utf-8"))
        best = min(fitted, key=lambda name: fitted[name]["tuning_nats"])
        policy, fitted_on = self.sft_policy(best, c.bake_temperature), fitted[best]["texts"]  # new prompts come first
        return Task(
            policy=policy,
            engine=RolloutEngine(policy.decoder, self.tokenizer),
            tokenizer=self.tokenizer,
            embed=self.embed,
            examples=self.examples(self.split.train[fitted_on:] + self.split.train[:fitted_on]),
            human=self.samples(self.split.train[: c.bank]),
            tuning=self.examples(self.split.tuning[: c.tuning_prompts]),
            tuning_human=self.samples(self.split.tuning),
            max_tokens=self.max_tokens,
            settings=c,
            seed=self.config.run.seed if c.seed is None else c.seed,
            folder=folder,
            log=self.log,
            checkpoints=lambda loop: self.checkpoints(folder.relative_to(self.path) / loop),
        )

    def selected_answers(self, task: Task) -> list[dict]:
        """Of several answers to each held-out prompt the one that population selection chooses: no training."""
        c = task.settings
        prompts = self.examples(self.held_out)
        rollouts = task.candidates(0, prompts)
        vocab, weights = task.policy.decoder.config.vocab_size, c.weights.model_dump()
        terms = make_terms(rollouts.samples, task.human, vocab, weights)
        chosen, _ = on_first(lambda: select_population(rollouts.prompt, terms, task.seed))
        answer = {rollouts.prompt[i]: i for i in chosen}
        how = {"candidates": c.candidates, "temperatures": c.candidate_temperatures, "seed": task.seed}
        rows = []
        for number, document in enumerate(self.held_out):
            i = answer.get(number)  # none where every candidate was cut off or empty
            text, tokens = ("", []) if i is None else (rollouts.samples.texts[i], rollouts.samples.tokens_of(i))
            rows.append(generation(document, text, tokens, "length" if i is None else "stop", how, f"{RIVAL}select"))
        return rows

    def embed(self, texts: list[str], embedder: Embedder | None = None) -> Tensor:
        """fp32 [texts, d]; processes share the work."""
        embedder = embedder or self.embedder
        rows = spread(lambda part: embedder.encode(part).numpy(), texts, [len(text) for text in texts])
        return torch.from_numpy(np.stack(rows))

    def kept_embeddings(self, embedder: Embedder, texts: list[str]) -> np.ndarray:
        """The same from the run folder, where they are from an earlier report."""
        cache = EmbeddingCache(self.path / "embeddings")
        kept = on_first(lambda: cache.load(embedder, texts))
        if kept is None:
            kept = self.embed(texts, embedder).numpy()
            on_first(lambda: cache.save(embedder, texts, kept))
        return kept

    def samples(self, documents: list[Document]) -> Samples:
        """Human texts as the discrepancies see them: embedded, and as tokens closed by the end token."""
        texts, examples = [document.text for document in documents], self.examples(documents)
        prompts = None
        if self.config.dft.weights.conditional_mmd:
            prompts = self.embed([self.tokenizer.decode(example.prompt) for example in examples])
        return Samples.of(self.embed(texts), [e.completion for e in examples], texts, prompts)

    def answer(self, engine: RolloutEngine, documents: list[Document], sampler: Sampler, path: Path) -> None:
        """Write one generation for each document."""
        prompts = [example.prompt for example in self.examples(documents)]
        requests = [Request(i, prompt, sampler, self.config.run.seed) for i, prompt in enumerate(prompts)]
        batch = sample(engine, requests, path.stem)
        settings = {name: getattr(sampler, name) for name in ("temperature", "top_k", "top_p", "max_tokens")}
        settings["seed"] = self.config.run.seed
        rows = (
            generation(
                *(documents[i], self.tokenizer.decode(batch.output(i)).strip(), batch.output(i)),
                *(batch.finish_reason[i], settings, path.stem),
            )
            for i in range(len(batch))
        )
        on_first(lambda: write_generations(path, rows))

    def report(self) -> None:
        """Measure every set of generations against the human texts; results.json, the table, report.html."""
        from rich.console import Console

        c = self.config.evaluation
        documents = self.held_out[: self.config.sweep.prompts]
        unseen = Embedder(c.unseen_embedder)
        human = self.text_set("human", documents, [d.text for d in documents], unseen)
        files = [path for name in self.sft_variants() for path in self.sweep_files(name)]
        files += self.rival_files().values()
        outputs = {"human": human}
        for path in [*files, self.path / "generations" / "dft.jsonl"]:
            rows = read_generations(path)[: len(documents)]
            outputs[path.stem] = self.text_set(path.stem, documents, [r["text"] for r in rows], unseen, rows)
        if rank():
            return
        corpus = [document.text for document in self.split.train]
        reference = Reference(human, exclude=self.tokenizer.special_ids, rounds=c.rounds, seed=self.config.run.seed, corpus=corpus)
        sets = {name: outputs[name] for name in outputs if name != "human"}
        results = {n: evaluate(s, reference) for n, s in tqdm(sets.items(), desc="evaluate", unit="set")}
        about = {"prompts": len(documents), "bandwidth": reference.bandwidth, "embedder": self.embedder.name}
        write_results(self.path, results, candidate="dft", about=about)
        Console().print(terminal_table(results, candidate="dft"))
        write_report(self.path, results, outputs, candidate="dft", reference=reference,
                     token_name=lambda token: self.tokenizer.decode([token]), about=about)
        log.info("report: %s", self.path / "report.html")

    def text_set(self, name: str, documents: list[Document], texts: list[str], unseen: Embedder, rows=None) -> TextSet:
        """Texts for the prompts of ``documents`` as the metrics take them, tokenised afresh and embedded twice."""
        return TextSet(
            ids=[document.id for document in documents],
            prompts=[prompt_messages(document)[-1]["content"] for document in documents],
            texts=texts,
            token_ids=self.tokenizer.encode_batch(texts),
            embeddings=self.kept_embeddings(self.embedder, texts),
            unseen_embeddings=self.kept_embeddings(unseen, texts),
            finish_reason=[row["finish_reason"] for row in rows] if rows else None,
            name=name,
        )


def _plain(part: object) -> object:
    """A section of the configuration as JSON."""
    return part.model_dump(mode="json") if hasattr(part, "model_dump") else part
