"""The keys of distribution fine-tuning and of the methods that it is compared with."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dftfast.config.section import Count, Fraction, NotNegative, Positive, Section, Share


class Weights(Section):
    """how much each discrepancy counts in the choice of texts; 0 leaves it out"""

    mmd: NotNegative = Field(default=1.0, description="squared MMD of embeddings")
    conditional_mmd: NotNegative = Field(
        default=0.0, description="squared MMD of embeddings of prompt and text together"
    )
    lexical: NotNegative = Field(
        default=1.0, description="squared MMD of the tokens that a text uses"
    )
    ngram: NotNegative = Field(
        default=1.0, description="squared L2 distance of n-gram frequencies, n = 1 to 3"
    )
    classifier: NotNegative = Field(
        default=0.5,
        description="logit of a cross-fitted classifier of human against model, by "
        "embedding and style",
    )
    style: NotNegative = Field(default=0.5, description="squared MMD of style features")
    length: NotNegative = Field(default=0.5, description="energy distance of length distributions")
    asked_length: NotNegative = Field(
        default=0.0,
        description="energy distance of the ratio of a text's words to those that its "
        "prompt asks for",
    )
    repetition: NotNegative = Field(
        default=0.0, description="energy distance of the share of words that a text has used before"
    )
    phrases: NotNegative = Field(
        default=0.0,
        description="energy distance of the share of runs of three words that human texts for "
        "other prompts have",
    )
    coverage: NotNegative = Field(
        default=0.0,
        description="energy distance of how much of the words of its prompt a text takes up",
    )


class Guards(Section):
    """a phase that goes beyond one of these is given up, and the one before it is the result"""

    loss: NotNegative = Field(
        default=3.0,
        description="a loss of this many times the usual one skips the update and halves the "
        "learning rate; 0 is no limit",
    )
    empty: Fraction = Field(
        default=0.1, description="rise of the share of empty texts since the start"
    )
    cut: Fraction = Field(
        default=0.2, description="rise of the share of texts that the length limit cut"
    )
    repetition: Fraction = Field(
        default=0.1,
        description="rise of the share of 4-grams of tokens that repeat one of their text",
    )
    copied: Fraction = Field(
        default=0.1,
        description="rise of the share of runs of 8 tokens that are in the training texts",
    )
    length: Annotated[float, Field(gt=1)] = Field(
        default=2.0,
        description="factor between the mean lengths of outputs and of "
        "human texts, either way (or the start's, where that is larger)",
    )
    entropy: Share = Field(default=0.5, description="least share of the start's entropy a token")
    human_nats: Positive = Field(
        default=0.1,
        description="rise of the nats a token of human texts, as a share of the start's",
    )
    kl: Positive = Field(
        default=1.0, description="KL divergence from the phase before, nats a token"
    )


class PolicyGradient(Section):
    """phases of dft.method=policy_gradient"""

    rounds: Count = Field(default=60, description="times to sample and update in a phase")
    prompts: Count = Field(
        default=16, description="prompts a round; each is answered dft.candidates times"
    )
    reuse: Count = Field(default=1, description="updates for each round's samples")
    clip: Positive = Field(
        default=0.2,
        description="how far a token's probability may move from the one it was sampled with, "
        "as a share, before it stops being pushed",
    )
    kl: NotNegative = Field(
        default=0.05,
        description="penalty on log(p / p at the phase's start), in units of the reward's spread",
    )
    average: Share = Field(
        default=0.9, description="decay of the running average of the weights that is kept"
    )
    learning_rate: Positive = Field(default=1e-4, description="peak learning rate")


class DFT(Section):
    """distribution fine-tuning of the best fine-tuned model"""

    method: Literal["regression", "selection", "policy_gradient"] = Field(
        default="selection",
        description="regress the candidates' log-ratios on their witnesses, learn a chosen "
        "population, or follow the same discrepancies by policy gradient",
    )
    phases: Count = Field(
        default=1,
        description="times to sample, choose and train; each leaves one adapter, and a run "
        "with more of them "
        "goes on from those that its folder has",
    )
    minutes: Positive | None = Field(
        default=None,
        description="no phase is begun that would end later, were it as long as the one "
        "before; none is no limit",
    )
    prompts: Count = Field(default=256, description="training prompts a phase")
    candidates: Annotated[int, Field(ge=2)] = Field(
        default=6, description="samples a prompt, spread over the candidate temperatures"
    )
    candidate_temperatures: list[Positive] = Field(
        default=[1.0], min_length=1, description="temperatures of the candidates"
    )
    overshoot: NotNegative = Field(
        default=2.0,
        description="how far beyond human text the chosen population aims, in units of "
        "what the policy is short of it: training on the population goes a part of the way",
    )
    contrast: NotNegative = Field(
        default=1.0,
        description="weight of the rejected texts, a population chosen as far on the other "
        "side of the policy, that the chosen are learnt against; 0 learns the chosen alone",
    )
    repeats: NotNegative = Field(
        default=0.0,
        description="how much more a rejected text's repeats of itself weigh, in units of the "
        "share by which the policy's texts repeat themselves more than human ones",
    )
    reference_texts: Count = Field(
        default=1500, description="human training texts that the discrepancies are measured against"
    )
    validation_prompts: Count = Field(
        default=480,
        description="validation prompts at most that choose the phase to keep, answered once each "
        "(and by the likelihood of their texts the fine-tuned model)",
    )
    human_share: NotNegative = Field(
        default=0.0, description="human texts mixed into a phase, for each chosen text"
    )
    bake_temperature: Positive = Field(
        default=0.96,
        description="temperature of the fine-tuned model that sampling at 1 "
        "starts from (the final norm is divided by it)",
    )
    temperature: Positive = Field(
        default=1.0, description="the one sampling temperature that the result is reported at"
    )
    min_p: Share = Field(
        default=0.0,
        description="tokens less likely than this share of the likeliest are never sampled, by the "
        "phases as by the result",
    )
    weights: Weights = Weights()
    rank: Count = Field(default=32, description="rank of a phase's adapter")
    alpha: Positive = Field(
        default=32.0, description="scale of a phase's adapter: its product counts alpha / rank"
    )
    learning_rate: Positive = Field(default=1e-3, description="peak learning rate of a phase")
    epochs: Count = Field(default=1, description="passes over the chosen texts")
    batch_tokens: Count = Field(default=2048, description="tokens an update, prompts included")
    micro_tokens: Count = Field(
        default=4096, description="tokens a forward pass; lower it to save memory"
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = Field(
        default=None,
        description="seed of the phases; none is run.seed. "
        "The answers that are reported stay with run.seed",
    )
    guards: Guards = Guards()
    gradient: PolicyGradient = PolicyGradient()


class Baselines(Section):
    """other methods in the same table, from the same start, with the prompts and phases of dft"""

    methods: list[
        Literal["best_of_k", "hidden_mmd", "iq_learn", "select", "spin", "target_kl", "textgail"]
    ] = Field(
        default=[],
        description="best of K by likelihood; MMD of hidden states; inverse soft-Q; population "
        "selection without training; self-play; KL to a corpus-derived distribution; discriminator "
        "with PPO",
    )
