"""The table of impurities and phonons in one sample: Matthiessen's rule, shell by shell, at every temperature."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from jaxkin.disorder import AcousticPhonons, Disorder, ElasticPhonons, PhononRate
from jaxkin.disorder.phonons import phonon_temperature
from jaxkin.errors import JaxkinError
from jaxkin.fitting.table import Table, Values, shell_sums, sorted_shells
from jaxkin.response.sums import RelaxedSums, Theory
from jaxkin.surface.surface import Surface


class PhononTable(Table):
    """The parameters of impurities, and of phonons that are beside them.

    Of a :class:`PhononRate` ``tau_phonon`` (ps, at its reference) and ``phonon_exponent``; of :class:`AcousticPhonons`
    ``deformation_potential`` (eV); of others ``phonon_strength``, a factor on C. At temperatures of data, and at a
    fitted one, phonons have theirs, unless they were given one. ``sums`` are those of the phonons alone. Gaussian skew
    scattering is that of the impurities beside a rate; beside a potential of phonons it is left out.

    Attributes:
        impurities: their own table.
        rate: a PhononRate; None for a potential.
        given: names of the phonons' parameters, and their values.
        lattice: temperature of phonons in K, where it was given.
        factor: of C at T; None where that depends on q.
    """

    impurities: Table
    rate: PhononRate | None
    given: tuple[tuple[str, float], ...] = eqx.field(static=True)
    lattice: float | None = eqx.field(static=True)
    factor: Callable[[Array], Array] | None

    @classmethod
    def of(cls, surface: Surface, impurities: Table, phonons: Disorder, theory: Theory) -> PhononTable:
        """Gather it from a surface.

        Raises:
            JaxkinError: a PhononRate that is a function, whose numbers are not known.
        """
        lattice, name = phonons.temperature, type(phonons).__name__  # pyright: ignore[reportAttributeAccessIssue]
        kelvin = float(phonon_temperature(lattice, surface, name))
        if isinstance(phonons, PhononRate):
            if callable(phonons.tau):
                raise JaxkinError("a fit needs a PhononRate of numbers: give tau, exponent and edge, not a function.")
            sums, rate, factor = impurities.sums, phonons, None
            given = (("tau_phonon", float(phonons.tau)), ("phonon_exponent", float(phonons.exponent)))
        else:
            assert isinstance(phonons, ElasticPhonons)
            sums = shell_sums(surface, phonons.on(surface), sorted_shells(surface), theory)
            rate, factor, given = None, phonons.factor(kelvin), (("phonon_strength", 1.0),)
            if isinstance(phonons, AcousticPhonons):
                given = (("deformation_potential", float(phonons.deformation_potential)),)
        whole = (impurities.energies, sums, impurities.intrinsic_hall, impurities.hall_error, impurities.dimension)
        return cls(*whole, impurities, rate, given, None if lattice is None else float(lattice), factor)

    @property
    def disorder_values(self) -> dict[str, float]:
        return {**self.impurities.disorder_values, **dict(self.given)}

    @property
    def linear(self) -> tuple[str, ...]:
        return self.impurities.linear

    @property
    def follows_temperature(self) -> bool:
        return self.lattice is None

    def check_range(self, name: str, low: float, high: float) -> None:
        fixed = self.rate is None and self.factor is None and self.lattice is None
        if name == "temperature" and fixed and (low, high) != (self.energies.temperature,) * 2:
            raise JaxkinError(
                f"the phonons of this table are those at {self.energies.temperature:g} K: how they depend on q changes "
                "with the temperature; leave out bloch_gruneisen and give the `length` that screens, or the lattice's "
                "`temperature`."
            )
        self.impurities.check_range(name, low, high)

    def at(self, values: Values) -> RelaxedSums:
        base = self.impurities.at(values)
        kelvin = jnp.asarray(values["temperature"] if self.lattice is None else self.lattice, float)
        moments, currents = dict(base.moments), dict(base.currents)
        if self.rate is not None:
            numbers = (values["tau_phonon"], values["phonon_exponent"])
            changed = eqx.tree_at(lambda one: (one.tau, one.exponent), self.rate, numbers)
            rate = jnp.broadcast_to(1 / changed.time(self.energies.energy, kelvin), self.energies.energy.shape)
            return RelaxedSums(_matthiessen(base.tau, rate), moments, currents)
        name, given = self.given[0]
        size = jnp.asarray(values[name]) / given
        size = size**2 if name == "deformation_potential" else size
        if self.factor is not None and self.lattice is None:
            size = size * self.factor(kelvin)
        for parts, own in ((moments, self.sums.moments), (currents, self.sums.currents)):
            for mechanism in ("side_jump", "nonlocal"):
                if mechanism in parts:
                    parts[mechanism] = parts[mechanism] + size * own[mechanism]
            if "gaussian_skew" in parts:
                parts["gaussian_skew"] = jnp.zeros_like(parts["gaussian_skew"])
        return RelaxedSums(_matthiessen(base.tau, size / self.sums.tau), moments, currents)


def _matthiessen(tau: Array, rate: Array) -> Array:
    """1/(1/τ + ``rate``), (R, E)."""
    return 1 / (1 / jnp.asarray(tau) + rate)
