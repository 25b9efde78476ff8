"""Disorder: impurities, their kernels, and the collision operator on each shell."""

from jaxkin.disorder.collisions import Collisions
from jaxkin.disorder.finite_range import FiniteRangeImpurity
from jaxkin.disorder.ionised import IonisedImpurities
from jaxkin.disorder.kernels import Disorder, KernelDisorder, Mixture
from jaxkin.disorder.pairs import pair_integral
from jaxkin.disorder.phonon_rate import PhononRate
from jaxkin.disorder.phonons import AcousticPhonons, ElasticPhonons, Phonons, PolarPhonons
from jaxkin.disorder.point import PointImpurity
from jaxkin.disorder.potentials import Gaussian, ScreenedCoulomb
from jaxkin.disorder.real_space import RealSpace
from jaxkin.disorder.relaxation_time import RelaxationTime
from jaxkin.disorder.states import State

__all__ = [
    "AcousticPhonons",
    "Collisions",
    "Disorder",
    "ElasticPhonons",
    "FiniteRangeImpurity",
    "Gaussian",
    "IonisedImpurities",
    "KernelDisorder",
    "Mixture",
    "PhononRate",
    "Phonons",
    "PointImpurity",
    "PolarPhonons",
    "RealSpace",
    "RelaxationTime",
    "ScreenedCoulomb",
    "State",
    "pair_integral",
]
