"""The main job: SFT, sweep of samplers, DFT, rivals, report. One file a stage; `stages` runs them, `run` is what they share."""

from .run import Run
from .stages import run_pipeline

__all__ = ["Run", "run_pipeline"]
