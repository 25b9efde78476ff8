"""Fits: from measured data to τ, τ_sk, a_sj, an impurity's strength, μ and T, with uncertainties."""

from jaxkin.fitting.bands import BandFit, fit_bands
from jaxkin.fitting.data import Data, read_data
from jaxkin.fitting.design import Design, design
from jaxkin.fitting.parameters import Parameter
from jaxkin.fitting.posterior import Posterior, sample_posterior
from jaxkin.fitting.problem import FitProblem
from jaxkin.fitting.profile import Profile
from jaxkin.fitting.result import FitResult
from jaxkin.fitting.solve import fit
from jaxkin.fitting.table import Table
from jaxkin.fitting.tabulate import tabulate, tabulate_window

__all__ = [
    "BandFit",
    "Data",
    "Design",
    "FitProblem",
    "FitResult",
    "Parameter",
    "Posterior",
    "Profile",
    "Table",
    "design",
    "fit",
    "fit_bands",
    "read_data",
    "sample_posterior",
    "tabulate",
    "tabulate_window",
]
