"""Times and lengths of a disordered metal, replica by replica, for tables and warnings."""

from __future__ import annotations

import numpy as np

from jaxkin import units
from jaxkin.estimate import Estimate
from jaxkin.namespace import is_traced
from jaxkin.surface.surface import Surface

SMALLEST_KFL = 3.0
"""k_Fℓ below which a Boltzmann equation with independent impurities is not to be trusted."""


def _mean(surface: Surface, values: np.ndarray) -> np.ndarray:
    """⟨values⟩ over the surface, (replicas,)."""
    return surface.integrate(values).samples / np.maximum(surface.density_of_states().samples, 1e-300)


def _root(surface: Surface, vectors: np.ndarray) -> np.ndarray:
    return np.sqrt(_mean(surface, np.sum(vectors**2, axis=1)))


def skew_time(surface: Surface, skew_acceleration: np.ndarray) -> Estimate:
    """|τ_sk| in ps: 1/τ_sk = √(135⟨Q²⟩/2⟨v²⟩), which for Q = −(v/3τ_sk)(z·e) z×e, Eq. (12), is exact."""
    ratio = _root(surface, skew_acceleration) / np.maximum(_root(surface, surface.velocity), 1e-300)
    with np.errstate(divide="ignore"):
        return Estimate(1 / (np.sqrt(67.5) * ratio), surface.evaluations)


def side_jump_length(surface: Surface, side_jump_velocity: np.ndarray, tau: np.ndarray) -> Estimate:
    """|a_sj| in Å: a_sj = τ√(15⟨v_sj²⟩/2)/ħ, exact for v_sj = (a_sj/τ)(z·e) z×e, Eq. (18)."""
    length = np.sqrt(7.5) * _root(surface, side_jump_velocity) * tau / units.HBAR
    return Estimate(length, surface.evaluations)


def mean_free_path(surface: Surface, tau: np.ndarray) -> Estimate:
    """ℓ = τ√⟨v²⟩ in Å."""
    return Estimate(_root(surface, surface.velocity) * tau / units.HBAR, surface.evaluations)


def fermi_wave_vector(surface: Surface) -> Estimate:
    """k_F in Å⁻¹ as d times the volume of the pockets over their area, the radius of spherical ones."""
    densities = surface.carrier_density()
    volume = densities["electrons"].samples + densities["holes"].samples
    area = surface.integrate(np.linalg.norm(surface.velocity, axis=1)).samples
    return Estimate(surface.model.dimension * volume / np.maximum(area, 1e-300), surface.evaluations)


def dilute_warning(surface: Surface, tau: np.ndarray) -> tuple[str, ...]:
    """A line where k_Fℓ is too small; nothing where it is not known, as of a surface evaluated elsewhere."""
    if surface.elsewhere or is_traced(surface, tau):
        return ()
    product = float(np.mean(fermi_wave_vector(surface).samples * mean_free_path(surface, tau).samples))
    if not 0 < product < SMALLEST_KFL:
        return ()
    return (
        f"k_Fℓ = {product:.2g}: independent impurities and a Boltzmann equation need k_Fℓ ≫ 1; what is left out "
        "(crossed diagrams, localisation) is of the size of the result. Lower the impurity density or strength.",
    )
