"""Other ways to bring a model's outputs nearer to human text, for comparison.

Each is a phase method like that of `dftfast.dft`: it trains one adapter and returns a report.
`BASELINES` has them by name.
"""

from dftfast.baselines.hidden_mmd import hidden_mmd
from dftfast.baselines.iq_learn import iq_learn
from dftfast.baselines.target_kl import target_kl
from dftfast.baselines.textgail import textgail

BASELINES = {method.__name__: method for method in (hidden_mmd, iq_learn, target_kl, textgail)}

__all__ = ["BASELINES"]
