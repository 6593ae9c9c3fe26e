"""Discrepancies between outputs and human texts, and the choice of a population by them.

A discrepancy is fitted on human `Samples`; its value says how far others are from them, its witness
which of them to write more and less of.
"""

from __future__ import annotations

from dftfast.distribution.density_ratio import DensityRatio
from dftfast.distribution.energy import LengthEnergy
from dftfast.distribution.mmd import MMD, LexicalMMD, StyleMMD
from dftfast.distribution.ngram_l2 import NGramL2
from dftfast.distribution.population import make_terms, select_population
from dftfast.distribution.protocol import Discrepancy
from dftfast.distribution.samples import Samples

__all__ = [
    "MMD",
    "DensityRatio",
    "Discrepancy",
    "LengthEnergy",
    "LexicalMMD",
    "NGramL2",
    "Samples",
    "StyleMMD",
    "make_terms",
    "select_population",
]
