"""Other ways to bring a model's outputs nearer to human text, for comparison.

Each is a phase method like that of `dftfast.dft`: it trains one adapter and returns a report.
`BASELINES` has them by name.
"""

from dftfast.baselines.ebft import ebft
from dftfast.baselines.gad import gad
from dftfast.baselines.hidden_mmd import hidden_mmd
from dftfast.baselines.iq_learn import iq_learn
from dftfast.baselines.sft_more import sft_more, sft_witness
from dftfast.baselines.target_kl import target_kl
from dftfast.baselines.textgail import textgail

METHODS = (ebft, gad, hidden_mmd, iq_learn, sft_more, sft_witness, target_kl, textgail)
BASELINES = {method.__name__: method for method in METHODS}

__all__ = ["BASELINES"]
