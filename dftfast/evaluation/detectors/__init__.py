"""AI detectors: text -> probability that a person wrote it."""
from .curvature import CurvatureDetector
from .http import HTTPDetector
from .shares import Detected, Detector, detect, detector_figure, detector_record

__all__ = ["CurvatureDetector", "Detected", "Detector", "HTTPDetector", "detect", "detector_figure", "detector_record"]
