"""The judges and detectors that a command line names."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tqdm import tqdm

from dftfast.endpoint import Budget, Endpoint, Limits, limits_of
from dftfast.endpoint.spec import is_url, named
from dftfast.evaluation.detectors import (
    CurvatureDetector,
    Detected,
    HTTPDetector,
    detect,
    detector_estimate,
    detector_record,
)
from dftfast.evaluation.estimate import Estimate
from dftfast.evaluation.judge import (
    QUESTIONS,
    Judged,
    LocalJudge,
    RemoteJudge,
    judge_estimates,
    judge_record,
    judge_systems,
)
from dftfast.evaluation.judge.log_lines import log_what_it_took
from dftfast.evaluation.judge.make import kept_answers, make_judge
from dftfast.evaluation.reference import Reference
from dftfast.evaluation.textset import TextSet, align
from dftfast.runtime.errors import UserError

DESCRIPTIONS = (".yaml", ".yml", ".json")


@dataclass
class Assessments:
    """What the judges and the detectors say of every system."""

    judged: list[Judged]
    detected: list[Detected]
    systems: Mapping[str, TextSet]
    reference: Reference

    @classmethod
    def ask(
        cls, options: Namespace, sets: Mapping[str, TextSet], reference: Reference
    ) -> Assessments:
        """Ask whom `--judge` and `--detector` name about the sets other than "human".

        There is one set a system: answers cost money or minutes, so of several draws the first.

        Raises:
            UserError: one of them cannot be asked.
        """
        systems = {name: texts for name, texts in sets.items() if name != "human"}
        limits, budget = limits_of(options)  # one cap for all
        # each is made before the first is asked
        detectors = _detectors(options, reference, limits, budget)
        judges = _judges(options, limits, budget)
        questions = list(QUESTIONS) if options.dimensions else ["jmq"]
        aligned = {n: align(texts, reference.texts) for n, texts in systems.items() if judges}
        judged, detected = [], []
        for judge in judges:
            with tqdm(desc=f"judge {judge.name}", unit="answer", dynamic_ncols=True) as bar:
                judged.append(
                    judge_systems(
                        judge,
                        aligned,
                        reference.texts,
                        questions,
                        both_orders=options.both_orders,
                        seed=options.seed,
                        progress=bar.update,
                    )
                )
            log_what_it_took(judge)
        for detector in detectors:
            with tqdm(
                total=sum(map(len, sets.values())),
                desc=f"detector {detector.name}",
                unit="text",
                dynamic_ncols=True,
            ) as bar:
                detected.append(detect(detector, systems, reference.texts, bar.update))
        return cls(judged, detected, systems, reference)

    def add_estimates(self, results: dict[str, dict[str, Estimate]]) -> None:
        """JMQ, the dimensions and the share called human, into the estimates of each system."""
        rounds, seed = self.reference.rounds, self.reference.seed
        for name, estimates in results.items():
            if self.judged:
                estimates |= judge_estimates(self.judged, name, rounds, seed)
            if self.detected:
                estimates["called_human"] = detector_estimate(
                    self.detected, name, self.systems[name], self.reference
                )

    @property
    def records(self) -> dict[str, list[dict]]:
        """Each judge and each detector alone, for results.json and the report."""
        return {
            "judges": [
                judge_record(j, self.reference.rounds, self.reference.seed) for j in self.judged
            ],
            "detectors": [detector_record(d, self.systems, self.reference) for d in self.detected],
        }


def _judges(options: Namespace, limits: Limits, budget: Budget) -> list[RemoteJudge | LocalJudge]:
    """`--judge NAME=URL,MODEL[,IN,OUT]` or `--judge NAME=FOLDER`."""
    _distinct("--judge", options.judge)
    given = [named("--judge", option) for option in options.judge]
    for name, model in given:
        if is_url(model):  # before a model is loaded
            Endpoint.parse("--judge", f"{name}={model}")
    return [make_judge("--judge", name, model, limits, budget) for name, model in given]


def _detectors(
    options: Namespace, reference: Reference, limits: Limits, budget: Budget
) -> list[HTTPDetector | CurvatureDetector]:
    """`--detector NAME=FILE.yaml` or `--detector NAME=MODEL[,MODEL]`.

    Those of models are calibrated on the reference.
    """
    _distinct("--detector", options.detector)
    made = []
    for option in options.detector:
        name, source = named("--detector", option)
        cache = kept_answers("detector", name, source)
        if source.endswith(DESCRIPTIONS):
            made.append(HTTPDetector(name, source, cache, limits, budget))
            continue
        models = source.split(",")
        if len(models) > 2:
            raise UserError(
                f"--detector: {option!r} names {len(models)} models; one or two are compared"
            )
        made.append(CurvatureDetector(name, models, reference.texts.texts, cache))
    return made


def _distinct(option: str, given: Sequence[str]) -> None:
    names = [named(option, text)[0] for text in given]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated:
        raise UserError(f"{option}: {repeated!r} is used twice; give each a name of its own")
