"""The project's kernels and discrepancies inside other trainers: PEFT models and TRL's GRPO."""
