"""The keys of distribution fine-tuning and of the methods that it is compared with."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dftfast.config.section import Count, Positive, Section, Share

MOST_CANDIDATES = 16_384  # of a phase: their regression holds a matrix with a row for each


class DFT(Section):
    """distribution fine-tuning of the best fine-tuned model"""

    phases: Count = Field(
        default=5,
        description="times to sample, credit and follow; each leaves one adapter, and a run with "
        "more of them goes on from those that its folder has",
    )
    prompts: Count = Field(default=160, description="training prompts a phase")
    candidates: Annotated[int, Field(ge=2)] = Field(default=6, description="samples a prompt")
    reference_texts: Count = Field(
        default=1500, description="human training texts that the discrepancies are measured against"
    )
    target: list[str] = Field(
        default=[],
        description="target files (`dftfast target`) to train towards in place of these texts; of "
        "several each with its weight, as a.target:0.7,b.target:0.3",
    )
    match_within: Literal["use_case", "style", "genre"] | None = Field(
        default=None,
        description="field of the rows: discrepancies are taken within prompts that share its "
        "value, so that e-mails become like e-mails; none takes all texts together",
    )
    validation_prompts: Count = Field(
        default=360,
        description="validation prompts at most that choose the phase to keep, answered once each "
        "(and by the likelihood of their texts the fine-tuned model)",
    )
    bake_temperature: Positive = Field(
        default=0.96,
        description="temperature of the fine-tuned model that sampling at 1 "
        "starts from (the final norm is divided by it)",
    )
    min_p: Share = Field(
        default=0.0,
        description="tokens less likely than this share of the likeliest are never sampled, by the "
        "phases as by the result",
    )
    rank: Count = Field(default=32, description="rank of a phase's adapter")
    micro_tokens: Count = Field(
        default=4096, description="tokens a forward pass; lower it to save memory"
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = Field(
        default=None,
        description="seed of the phases; none is run.seed. "
        "The answers that are reported stay with run.seed",
    )

    @model_validator(mode="after")
    def _fits(self) -> DFT:
        if self.prompts * self.candidates > MOST_CANDIDATES:
            raise ValueError(
                f"dft.prompts: {self.prompts:,} prompts x {self.candidates} candidates are more "
                f"than the {MOST_CANDIDATES:,} texts of a phase; take fewer, and more phases"
            )
        return self


class Baselines(Section):
    """other methods in the same table, from the same start, with the prompts and phases of dft"""

    methods: list[
        Literal[
            "ebft",
            "gad",
            "hidden_mmd",
            "iq_learn",
            "select",
            "sft_more",
            "sft_witness",
            "target_kl",
            "textgail",
        ]
    ] = Field(
        default=[],
        description="feature matching; a Bradley-Terry discriminator; MMD of hidden states; "
        "inverse soft-Q; population selection without training; more human texts, plain or "
        "weighted by their witness; KL to a corpus-derived distribution; a discriminator as the "
        "reward",
    )
    learning_rate: Positive = Field(
        default=1e-3, description="peak learning rate of those that train on texts"
    )
    batch_tokens: Count = Field(
        default=4096, description="tokens of their updates, prompts included"
    )
