"""Disorder: scattering kernels and their double integrals on the Fermi surface."""

from jaxkin.disorder.kernels import Disorder, KernelDisorder, Scattering
from jaxkin.disorder.pairs import pair_integral
from jaxkin.disorder.relaxation_time import RelaxationTime
from jaxkin.disorder.states import State

__all__ = ["Disorder", "KernelDisorder", "RelaxationTime", "Scattering", "State", "pair_integral"]
