"""What a detector says of each set of texts: the share that it calls human."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dftfast.evaluation.estimate import Estimate, undefined
from dftfast.evaluation.reference import Reference
from dftfast.evaluation.textset import TextSet
from dftfast.evaluation.two_samples import TwoSamples

HUMAN = 0.5  # probability from which a text counts as called human


class Detector(Protocol):
    """What tells human texts from others.

    Attributes:
        name: what the user calls it.
        about: what it is, for the report.
    """

    name: str
    about: str

    def human_probability(
        self, texts: Sequence[str], progress: Callable[[int], object] = lambda n: None
    ) -> np.ndarray:
        """Probability that a person wrote each text, float64 [n]; NaN where there is no answer."""
        ...


@dataclass
class Detected:
    """What one detector says.

    Attributes:
        detector: who was asked.
        human: probabilities of the human texts, float64 [m].
        systems: name -> probabilities of its texts, float64 [n].
    """

    detector: Detector
    human: np.ndarray
    systems: dict[str, np.ndarray]


def detect(
    detector: Detector,
    systems: Mapping[str, TextSet],
    human: TextSet,
    progress: Callable[[int], object] = lambda n: None,
) -> Detected:
    """Ask about every text, in one go."""
    sets = [human, *systems.values()]
    probabilities = detector.human_probability(
        [text for texts in sets for text in texts.texts], progress
    )
    of_human, *others = np.split(probabilities, np.cumsum([len(texts) for texts in sets])[:-1])
    return Detected(detector, of_human, dict(zip(systems, others)))


def detector_estimate(
    detected: Sequence[Detected], name: str, outputs: TextSet, reference: Reference
) -> Estimate:
    """Share of the outputs that are called human, beside that of the human texts.

    It is a mean over detectors, text by text.

    The probabilities are in the order of `outputs` and of the reference's texts.
    """
    s = TwoSamples(outputs, reference)
    place = {identifier: k for k, identifier in enumerate(outputs.ids)}
    order = [place[identifier] for identifier in s.x.ids]
    x = _called_human([d.systems[name][order] for d in detected])
    y = _called_human([d.human for d in detected])
    if not np.isfinite(x).any() or not np.isfinite(y).any():
        return undefined("the detectors gave no answer")
    return s.mean(x, y)


def detector_record(
    detected: Detected, systems: Mapping[str, TextSet], reference: Reference
) -> dict:
    """What results.json and the report say of one detector: JSON values only."""
    rows = {
        name: {
            "figure": detector_estimate([detected], name, systems[name], reference).to_json(),
            "texts": len(p),
            "answers": int(np.isfinite(p).sum()),
            "mean": _mean(p),
            "auroc": _auroc(detected.human, p),
        }
        for name, p in detected.systems.items()
    }
    return {
        "name": detected.detector.name,
        "about": detected.detector.about,
        "human_mean": _mean(detected.human),
        "human_answers": int(np.isfinite(detected.human).sum()),
        "systems": rows,
    }


def _called_human(probabilities: Sequence[np.ndarray]) -> np.ndarray:
    """Share of the detectors that call each text human; NaN without an answer."""
    p = np.array(probabilities)
    answers = np.isfinite(p).sum(0)
    return np.where(
        answers > 0, (np.nan_to_num(p) >= HUMAN).sum(0) / np.maximum(answers, 1), np.nan
    )


def _mean(p: np.ndarray) -> float | None:
    return float(np.nanmean(p)) if np.isfinite(p).any() else None


def _auroc(human: np.ndarray, outputs: np.ndarray) -> float | None:
    """Probability that a human text gets a higher value than an output: 0.5 is blind."""
    from scipy.stats import mannwhitneyu

    x, y = human[np.isfinite(human)], outputs[np.isfinite(outputs)]
    return float(mannwhitneyu(x, y).statistic / (len(x) * len(y))) if len(x) and len(y) else None
