"""The main job: SFT, sweep of samplers, DFT, baselines, report.

One file a stage; `stages` runs them, `run` is what they share.
"""

from dftfast.pipeline.run import Run
from dftfast.pipeline.stages import plan_pipeline, run_pipeline

__all__ = ["Run", "plan_pipeline", "run_pipeline"]
