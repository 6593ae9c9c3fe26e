"""Other ways to bring a model's outputs nearer to human text, for comparison.

Each is a phase method like those of `dftfast.dft`: it trains one adapter and returns a report.
`BASELINES` has them by name.
"""

from dftfast.baselines.best_of_k import best_of_k
from dftfast.baselines.hidden_mmd import hidden_mmd
from dftfast.baselines.iq_learn import iq_learn
from dftfast.baselines.spin import spin
from dftfast.baselines.target_kl import target_kl
from dftfast.baselines.textgail import textgail

BASELINES = {
    method.__name__: method
    for method in (best_of_k, hidden_mmd, iq_learn, spin, target_kl, textgail)
}

__all__ = ["BASELINES"]
