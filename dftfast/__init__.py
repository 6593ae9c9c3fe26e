"""Distribution fine-tuning: train a language model until its outputs are distributed like its corpus."""

__version__ = "0.1.0"
