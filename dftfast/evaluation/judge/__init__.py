"""A language model as a judge: which of two texts is better, the output or the human text of the same prompt?"""
from .compare import Judged, judge_systems
from .local import LocalJudge
from .questions import QUESTIONS
from .remote import RemoteJudge
from .winrate import judge_figures, judge_record

__all__ = ["QUESTIONS", "Judged", "LocalJudge", "RemoteJudge", "judge_figures", "judge_record", "judge_systems"]
