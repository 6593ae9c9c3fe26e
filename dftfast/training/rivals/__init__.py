"""Other ways to bring a model's outputs nearer to human text, each a phase method like those of DFT, for comparison."""

from .best_of_k import best_of_k
from .hidden_mmd import hidden_mmd
from .iq_learn import iq_learn
from .spin import spin
from .target_kl import target_kl
from .textgail import textgail

RIVALS = {method.__name__: method for method in (best_of_k, hidden_mmd, iq_learn, spin, target_kl, textgail)}

__all__ = ["RIVALS"]
