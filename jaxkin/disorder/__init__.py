"""Disorder: impurities, their kernels, and the collision operator on each shell."""

from jaxkin.disorder.collisions import Collisions
from jaxkin.disorder.finite_range import FiniteRangeImpurity
from jaxkin.disorder.kernels import Disorder, KernelDisorder, Mixture
from jaxkin.disorder.pairs import pair_integral
from jaxkin.disorder.point import PointImpurity
from jaxkin.disorder.potentials import Gaussian, ScreenedCoulomb
from jaxkin.disorder.real_space import RealSpace
from jaxkin.disorder.relaxation_time import RelaxationTime
from jaxkin.disorder.states import State

__all__ = [
    "Collisions",
    "Disorder",
    "FiniteRangeImpurity",
    "Gaussian",
    "KernelDisorder",
    "Mixture",
    "PointImpurity",
    "RealSpace",
    "RelaxationTime",
    "ScreenedCoulomb",
    "State",
    "pair_integral",
]
