"""A language model as a judge: is the output better, or the human text of the same prompt?"""

from dftfast.evaluation.judge.compare import Judge, Judged, judge_systems
from dftfast.evaluation.judge.local import LocalJudge
from dftfast.evaluation.judge.questions import QUESTIONS
from dftfast.evaluation.judge.remote import RemoteJudge
from dftfast.evaluation.judge.winrate import judge_estimates, judge_record

__all__ = [
    "QUESTIONS",
    "Judge",
    "Judged",
    "LocalJudge",
    "RemoteJudge",
    "judge_estimates",
    "judge_record",
    "judge_systems",
]
