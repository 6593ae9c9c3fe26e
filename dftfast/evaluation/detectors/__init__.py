"""AI detectors: text -> probability that a person wrote it."""

from dftfast.evaluation.detectors.curvature import CurvatureDetector
from dftfast.evaluation.detectors.http import HTTPDetector
from dftfast.evaluation.detectors.shares import (
    Detected,
    Detector,
    detect,
    detector_estimate,
    detector_record,
)

__all__ = [
    "CurvatureDetector",
    "Detected",
    "Detector",
    "HTTPDetector",
    "detect",
    "detector_estimate",
    "detector_record",
]
