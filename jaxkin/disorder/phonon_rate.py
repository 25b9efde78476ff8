"""Phonons of which only a rate is known, 1/τ(ε, T)."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxkin.brief import brief, constructed
from jaxkin.checks import check_number, check_positive
from jaxkin.disorder.kernels import Disorder, Scatterer
from jaxkin.disorder.phonons import KELVIN, phonon_temperature
from jaxkin.disorder.relaxation_time import RelaxationCollisions, RelaxationTime
from jaxkin.disorder.states import States
from jaxkin.errors import JaxkinError
from jaxkin.namespace import AnyArray, Number, is_traced, leaf
from jaxkin.surface.surface import Surface

NEAREST = 1e-9
"""eV from the edge, from which on a power of the distance is what it is there."""


class PhononRate(Disorder):
    """A phonon rate of your own, added to that of impurities: 1/τ(ε, T) = (1/τ₀) (T/T₀)^a (|ε − ε₀|/ε₁)^b.

    In the relaxation-time approximation Matthiessen's rule, energy by energy. For the exact solver isotropic scattering
    w^S = 1/ντ, which brings a distribution to its average over the energy's states and keeps their number. It has no
    skew scattering and no shifts. Equipartition of acoustic phonons: a = 1, b = ½ with the density of states. See
    docs/impurities.md, "Phonons".

    Args:
        tau: τ₀ in ps; or τ(ε, T) in ps, a JAX function of eV and K, in place of all but the last of what follows.
        exponent: a, no unit.
        reference: T₀ in K.
        edge: ε₀ in eV; None for a rate that does not depend on energy.
        energy_exponent: b, no unit.
        energy: ε₁ in eV.
        temperature: of the lattice in K; None takes the surface's.

    Raises:
        JaxkinError: numbers that make no sense, or a surface at T = 0 without ``temperature``.

    >>> import jaxkin as jk
    >>> phonons = jk.PhononRate(0.4, exponent=1.5)
    >>> round(float(phonons.time(0.0, 77.0)), 2)  # ps
    3.08
    """

    tau: Number | Callable = eqx.field(converter=lambda tau: tau if callable(tau) else leaf(tau))
    exponent: Number = eqx.field(default=1.0, converter=leaf)
    reference: Number = eqx.field(default=300.0, converter=leaf)
    edge: Number | None = eqx.field(default=None, converter=leaf)
    energy_exponent: Number = eqx.field(default=0.5, converter=leaf)
    energy: Number = eqx.field(default=0.025, converter=leaf)
    temperature: Number | None = eqx.field(default=None, converter=leaf)

    def __check_init__(self):
        if not callable(self.tau):
            check_positive("tau", self.tau, "a positive time in ps, or a function of energy and temperature")
        check_number("exponent", self.exponent, "a finite number")
        check_positive("reference", self.reference, "a positive number of kelvin")
        check_number("edge", self.edge, "a finite energy in eV, or None", optional=True)
        check_number("energy_exponent", self.energy_exponent, "a finite number")
        check_positive("energy", self.energy, "a positive energy in eV")
        check_positive("temperature", self.temperature, KELVIN, optional=True)

    @brief
    def __repr__(self) -> str:
        return constructed(self)

    @property
    def elastic(self) -> bool:
        return callable(self.tau) or self.edge is not None

    def time(self, energy: AnyArray, temperature: AnyArray) -> Array:
        """τ in ps.

        Args:
            energy: ε in eV.
            temperature: T in K.
        """
        if callable(self.tau):
            return jnp.asarray(self.tau(energy, temperature))
        rate = (jnp.asarray(temperature) / self.reference) ** self.exponent / self.tau
        if self.edge is not None:
            distance = jnp.maximum(jnp.abs(jnp.asarray(energy) - self.edge), NEAREST)
            rate = rate * (distance / self.energy) ** self.energy_exponent
        return 1 / rate

    def on(self, surface: Surface) -> PhononRateScatterer:
        kelvin = leaf(phonon_temperature(self.temperature, surface, "PhononRate"))
        if not is_traced(surface.levels, kelvin, self):
            for level in np.unique(surface.levels):
                if not self.time(level, kelvin) > 0:
                    raise JaxkinError(
                        f"PhononRate gives τ = {float(self.time(level, kelvin)):.3g} ps at {level:.4g} eV and "
                        f"{kelvin:.4g} K; it must be positive."
                    )
        return PhononRateScatterer(self, kelvin)


class PhononRateScatterer(Scatterer):
    """τ(ε) at a surface's temperature."""

    phonons: PhononRate
    temperature: Float[AnyArray, ""]
    bloch: ClassVar[bool] = False  # pyright: ignore[reportIncompatibleMethodOverride]
    pairs: ClassVar[bool] = False  # pyright: ignore[reportIncompatibleMethodOverride]
    rate_only: ClassVar[bool] = True  # pyright: ignore[reportIncompatibleMethodOverride]

    def __call__(self, states: States) -> RelaxationCollisions:
        return RelaxationCollisions(states, RelaxationTime(self.phonons.time(states.level, self.temperature)))
