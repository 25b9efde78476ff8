"""Surface integrals that do not depend on the fitted parameters, gathered once.

In the relaxation-time approximation g(ω) and σ(ω) of a shell are a few 3×3 tensors times powers of τ/(1−iωτ). The
tensors are integrals over the surface; τ, τ_sk, a_sj, the density and strength of an impurity, μ and T only weigh them.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float
from numpy.typing import ArrayLike

from jaxkin import units
from jaxkin.brief import brief, lines, plural
from jaxkin.compilation import compiled_for
from jaxkin.disorder.kernels import Scatterer
from jaxkin.disorder.states import ShellStates, States, filled_size
from jaxkin.errors import JaxkinError, nearest
from jaxkin.fitting.parameters import Transform
from jaxkin.fitting.thermal import Energies, padded
from jaxkin.namespace import is_traced
from jaxkin.response.conductivity import intrinsic_conductivity
from jaxkin.response.sums import RelaxedSums, Theory, Weigh, conductivity_parts, gyrotropic_parts, scattered_sums
from jaxkin.surface.surface import Shell, Surface
from jaxkin.surface.thermal import STEP, TAIL, Thermal

Values = Mapping[str, ArrayLike]
"""Parameters by name."""


KNOWN: dict[str, tuple[str, Transform]] = {
    "tau": ("ps", "log"),
    "tau_skew": ("ps", "reciprocal"),
    "side_jump": ("Å", "linear"),
    "moment_scale": ("1", "linear"),
    "strength": ("1", "linear"),
    "density": ("1/Å^d", "log"),
    "fermi_level": ("eV", "linear"),
    "temperature": ("K", "log"),
    "tau_phonon": ("ps", "log"),
    "phonon_exponent": ("1", "linear"),
    "deformation_potential": ("eV", "log"),
    "phonon_strength": ("1", "log"),
}
"""Unit and coordinate of every parameter that a table may have."""


class Table(eqx.Module):
    """g(ω) and σ(ω) of one surface as JAX functions of the parameters of its disorder: docs/fits.md, "Tables".

    Attributes:
        energies: of the shells, and what μ and T make of them.
        sums: of each shell, leaves (R, E, ...), as the disorder was given.
        intrinsic_hall: σ_ab of the filled states in S/m (in 2D: S) at the surface's μ and T, (3, 3).
        hall_error: its error, in that unit.
        dimension: of the model.
    """

    energies: Energies
    sums: RelaxedSums
    intrinsic_hall: Float[Array, "3 3"]
    hall_error: float = eqx.field(static=True)
    dimension: int = eqx.field(static=True)

    @property
    @abc.abstractmethod
    def disorder_values(self) -> dict[str, float]:
        """Parameters of the disorder, with the values it was given, in units of :class:`Parameter`."""

    @brief
    def __repr__(self) -> str:
        replicas, shells = np.shape(self.energies.energy)
        return lines(
            f"{type(self).__name__} of {plural(replicas, 'replica')} and {shells} energies: "
            + ", ".join(f"{name} = {value:.4g}" for name, value in self.values.items()),
            "ask for .gyrotropic(values, frequency), .conductivity(values, frequency), jaxkin.FitProblem(table, ...)",
        )

    @property
    def linear(self) -> tuple[str, ...]:
        """Parameters, as :meth:`at` takes them, in which all tensors together are affine."""
        return ("moment_scale",)

    @property
    def follows_temperature(self) -> bool:
        """Whether the sums of :meth:`at` are others at another temperature."""
        return False

    @abc.abstractmethod
    def at(self, values: Values) -> RelaxedSums:
        """The sums of every shell for given parameters; τ may be one number."""

    @property
    def values(self) -> dict[str, float]:
        """Every parameter, with its value, in units of :class:`Parameter`, on the surface the table was made from."""
        return {
            **self.disorder_values,
            "moment_scale": 1.0,
            "fermi_level": self.energies.fermi_level,
            "temperature": self.energies.temperature,
        }

    def gyrotropic(self, values: Values, frequency: ArrayLike) -> dict[str, Complex[Array, "R F 3 3"]]:
        """g_ab in S (in 2D: S m) by mechanism and in all, for every replica: that of :func:`gyrotropic_response`.

        Args:
            values: parameters that differ from :attr:`values`; 1/τ_sk may be given as ``skew_rate``.
            frequency: (F,) f = ω/2π in THz.

        Raises:
            JaxkinError: an unknown parameter.
        """
        values = self.complete(values)
        found = gyrotropic_parts(self.at(values), _angular(frequency), self._weigh(values))
        parts = {name: self.gyrotropic_unit * part for name, part in found.items()}
        return {**parts, "total": sum(parts.values(), jnp.zeros(()))}

    def conductivity(self, values: Values, frequency: ArrayLike) -> Complex[Array, "R F 3 3"]:
        """The Drude part of σ_ab in S/m (in 2D: S), for every replica: that of :func:`jaxkin.conductivity`.

        Arguments and errors as of :meth:`gyrotropic`.
        """
        return self._currents(values, frequency)["drude"]

    def hall_conductivity(self, values: Values, frequency: ArrayLike) -> dict[str, Complex[Array, "R F 3 3"]]:
        """The antisymmetric part of σ_ab in S/m (in 2D: S) by mechanism and in all, for every replica.

        The intrinsic part is that of the surface's own μ and T. Arguments and errors as of :meth:`gyrotropic`.
        """
        parts = {name: part for name, part in self._currents(values, frequency).items() if name != "drude"}
        parts["intrinsic"] = jnp.broadcast_to(self.intrinsic_hall, parts["skew"].shape).astype(complex)
        return {**parts, "total": sum(parts.values(), jnp.zeros(()))}

    def _currents(self, values: Values, frequency: ArrayLike) -> dict[str, Complex[Array, "R F 3 3"]]:
        values = self.complete(values)
        found = conductivity_parts(self.at(values), _angular(frequency), self._weigh(values))
        return {name: self.conductivity_unit * part for name, part in found.items()}

    def _weigh(self, values: Values) -> Weigh:
        """How the shells of each replica add up at μ and T: to (R, F, 3, 3)."""
        factor = self.energies.factor(jnp.asarray(values["fermi_level"]), jnp.asarray(values["temperature"]))

        def weigh(coefficient: Array, tensor: Array) -> Array:
            if coefficient.ndim == 1:  # of one τ for all shells
                return coefficient[:, None, None] * jnp.einsum("re,reab->rab", factor, tensor)[:, None]
            return jnp.einsum("fre,reab->rfab", coefficient * factor, tensor.astype(complex))

        return weigh

    @property
    def gyrotropic_unit(self) -> float:
        """S for 1 μ_B eV Å ps /(eV Å^d)."""
        return 1e-12 * units.moment_velocity_density(self.dimension) * units.ELEMENTARY_CHARGE

    @property
    def conductivity_unit(self) -> float:
        """S/m for 1 (eV Å)² ps /(eV Å^d)."""
        return 1e-12 * units.velocity_velocity_density(self.dimension) * units.ELEMENTARY_CHARGE**2

    def complete(self, values: Values) -> dict[str, ArrayLike]:
        """``values``, in units of :class:`Parameter`, with all that is left out.

        Raises:
            JaxkinError: an unknown parameter.
        """
        for name, value in values.items():
            self.check_name(name)
            if not is_traced(value):
                self.check_range(name, float(value), float(value))  # pyright: ignore[reportArgumentType]
        return {**self.values, **values}

    def check_range(self, name: str, low: float, high: float) -> None:
        """Refuse values of a parameter that the table does not reach; most tables reach all.

        Args:
            name: of the parameter.
            low, high: the ends, in its unit.

        Raises:
            JaxkinError: which it does.
        """

    def check_name(self, name: str) -> None:
        """Refuse a parameter the table does not have.

        Raises:
            JaxkinError: with the nearest name.
        """
        known = [*self.values, *(["skew_rate"] if "tau_skew" in self.values else [])]
        if name not in known:
            raise JaxkinError(
                f"parameter {name!r} is unknown{nearest(name, known)}; this table has {', '.join(self.values)}."
            )


def _angular(frequency: ArrayLike) -> Array:
    """ω in 1/ps of f in THz."""
    return 2 * jnp.pi * jnp.atleast_1d(jnp.asarray(frequency, float))


class Gathered(NamedTuple):
    """What every table takes from its surface, and its shells in the order of the table."""

    energies: Energies
    intrinsic_hall: Array
    hall_error: float
    dimension: int
    shells: list[list[Shell]]


def sorted_shells(surface: Surface) -> list[list[Shell]]:
    """Those of each replica, by energy."""
    return [
        sorted((s for s in surface.shells if s.replica == replica), key=lambda s: s.energy)
        for replica in range(surface.replicas)
    ]


def gather(surface: Surface, window: tuple[float, float] | None = None) -> Gathered:
    """The part of a table that does not depend on the kind of disorder.

    Args:
        surface: from :func:`fermi_surface`.
        window: interval of its energies in eV; by default what a thermal surface has.
    """
    shells = sorted_shells(surface)
    energy = padded([[np.array(s.energy) for s in row] for row in shells], ())
    present = padded([[np.array(True) for _ in row] for row in shells], (), bool)
    energy = np.where(present, energy, surface.fermi_level)
    kt = units.BOLTZMANN * surface.temperature
    if window is None:
        window = (surface.fermi_level - TAIL * kt, surface.fermi_level + TAIL * kt)
    found = energy[present] if present.any() else np.array([surface.fermi_level])
    empty = (bool(found.min() > window[0] + 2 * STEP * kt), bool(found.max() < window[1] - 2 * STEP * kt))
    hall = intrinsic_conductivity(surface, rtol=1e-8, budget=500_000)  # once for many values
    energies = Energies(
        jnp.asarray(energy),
        surface.fermi_level,
        surface.temperature,
        window,
        empty,
        surface.sampler.bin_width(Thermal(surface.fermi_level, surface.temperature)) is not None,
    )
    return Gathered(energies, jnp.asarray(hall.tensor), float(hall.error.max()), surface.model.dimension, shells)


def shell_sums(surface: Surface, scatterer: Scatterer, shells: list[list[Shell]], theory: Theory) -> RelaxedSums:
    """The sums of all shells, leaves (R, E, ...), filled up with zeros (τ with ones)."""
    states = ShellStates(surface, scatterer.bloch, scatterer.orbitals if theory == "complete" else ())

    def one(shell: Shell) -> RelaxedSums:
        count = shell.points.stop - shell.points.start
        mine = states.of(shell, filled_size(count, scatterer.pairs))
        return jax.tree.map(np.asarray, _compiled_sums(len(mine), scatterer.at(shell.energy), mine, theory))

    rows = [[one(shell) for shell in row] for row in shells]
    count = max(len(row) for row in rows)
    empty = jax.tree.map(np.zeros_like, next(one for row in rows for one in row))
    empty = eqx.tree_at(lambda s: s.tau, empty, np.ones(()))
    full = [one for row in rows for one in row + [empty] * (count - len(row))]
    return jax.tree.map(lambda *x: jnp.asarray(np.stack(x).reshape(len(rows), count, *x[0].shape)), *full)


@compiled_for
def _compiled_sums(scatterer: Scatterer, states: States, theory: Theory) -> RelaxedSums:
    return scattered_sums(scatterer, states, theory)
