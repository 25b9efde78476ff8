"""Surface integrals that do not depend on the fitted parameters, gathered once.

In the relaxation-time approximation g(ω) and σ(ω) of a shell are a few 3×3 tensors times powers of τ/(1−iωτ). The
tensors are integrals over the surface; τ, τ_sk, a_sj, the density and strength of an impurity, μ and T only weigh them.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float
from numpy.typing import ArrayLike

from jaxkin import units
from jaxkin.disorder.states import ShellStates
from jaxkin.errors import JaxkinError, nearest
from jaxkin.fitting.parameters import Transform
from jaxkin.fitting.thermal import Energies, padded
from jaxkin.namespace import is_traced
from jaxkin.response.boltzmann import MAGNETON
from jaxkin.response.conductivity import intrinsic_conductivity
from jaxkin.surface.shells import Shell, Surface
from jaxkin.surface.thermal import STEP, TAIL, Thermal

Values = Mapping[str, ArrayLike]
"""Parameters by name."""


class Kinetics(NamedTuple):
    """What scattering with given parameters makes of the shells.

    Attributes:
        tau: transport time in ps, a number or (replicas, energies).
        moments: by mechanism, the tensor of the power (τ/(1−iωτ))ⁿ of g, n = :data:`POWERS`; (R, E, 3, 3).
        currents: Σ W v_a Q_b and Σ W v_a v_sj,b of the skew and side-jump parts of σ, n = :data:`HALL_POWERS`.
    """

    tau: Array
    moments: dict[str, Float[Array, "R E 3 3"]]
    currents: dict[str, Float[Array, "R E 3 3"]]


POWERS = {"intrinsic": 1, "skew": 3, "side_jump": 2}
"""Powers of τ/(1−iωτ) of each mechanism, Eqs. (22), (14), (20)."""
HALL_POWERS, HALL_FACTORS = {"skew": 2, "side_jump": 1}, {"skew": 0.5, "side_jump": 1.0}
"""The same of σ, and the factors of X − Xᵀ."""


KNOWN: dict[str, tuple[str, Transform]] = {
    "tau": ("ps", "log"),
    "tau_skew": ("ps", "reciprocal"),
    "side_jump": ("Å", "linear"),
    "moment_scale": ("1", "linear"),
    "strength": ("1", "linear"),
    "density": ("1/Å^d", "log"),
    "fermi_level": ("eV", "linear"),
    "temperature": ("K", "log"),
}
"""Unit and coordinate of every parameter that a table may have."""


class Table(eqx.Module):
    """g(ω) and σ(ω) of one surface as JAX functions of the parameters of its disorder.

    Attributes:
        energies: of the shells, and what μ and T make of them.
        moment: Σ W m_a v_b of each shell, (R, E, 3, 3), μ_B eV Å.
        drude: Σ W v_a v_b of each shell, (eV Å)².
        intrinsic_hall: σ_ab of the filled states in S/m (in 2D: S) at the surface's μ and T, (3, 3).
        hall_error: its error.
        dimension: of the model.
    """

    energies: Energies
    moment: Float[Array, "R E 3 3"]
    drude: Float[Array, "R E 3 3"]
    intrinsic_hall: Float[Array, "3 3"]
    hall_error: float = eqx.field(static=True)
    dimension: int = eqx.field(static=True)

    @property
    @abc.abstractmethod
    def disorder_values(self) -> dict[str, float]:
        """Parameters of the disorder, with the values it was given."""

    @property
    def linear(self) -> tuple[str, ...]:
        """Parameters, as :meth:`kinetics` takes them, in which all tensors together are affine."""
        return ("moment_scale",)

    @abc.abstractmethod
    def kinetics(self, values: Values) -> Kinetics:
        """τ and the tensors of every shell for given parameters."""

    @property
    def values(self) -> dict[str, float]:
        """Every parameter, with the value at which the table is the surface it was made from."""
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
        omega = 2 * jnp.pi * jnp.atleast_1d(jnp.asarray(frequency, float))
        factor = self.energies.factor(jnp.asarray(values["fermi_level"]), jnp.asarray(values["temperature"]))
        kinetics = self.kinetics(values)
        parts = {
            name: -1j * self.gyrotropic_unit * summed(kinetics.tau, omega, POWERS[name], factor[None], traceless(k))
            for name, k in kinetics.moments.items()
        }
        parts = {name: jnp.swapaxes(part, 0, 1) for name, part in parts.items()}
        return {**parts, "total": sum(parts.values(), jnp.zeros(()))}

    def conductivity(self, values: Values, frequency: ArrayLike) -> Complex[Array, "R F 3 3"]:
        """The Drude part of σ_ab in S/m (in 2D: S), for every replica: that of :func:`jaxkin.conductivity`."""
        values = self.complete(values)
        omega = 2 * jnp.pi * jnp.atleast_1d(jnp.asarray(frequency, float))
        factor = self.energies.factor(jnp.asarray(values["fermi_level"]), jnp.asarray(values["temperature"]))
        sums = summed(self.kinetics(values).tau, omega, 1, factor[None], self.drude)
        return self.conductivity_unit * jnp.swapaxes(sums, 0, 1)

    def hall_conductivity(self, values: Values, frequency: ArrayLike) -> dict[str, Complex[Array, "R F 3 3"]]:
        """The antisymmetric part of σ_ab by mechanism and in all, for every replica, as :func:`jaxkin.conductivity`.

        The intrinsic part is that of the surface's own μ and T.
        """
        values = self.complete(values)
        omega = 2 * jnp.pi * jnp.atleast_1d(jnp.asarray(frequency, float))
        factor = self.energies.factor(jnp.asarray(values["fermi_level"]), jnp.asarray(values["temperature"]))
        kinetics = self.kinetics(values)
        parts = {
            name: self.conductivity_unit
            * summed(kinetics.tau, omega, HALL_POWERS[name], factor[None], antisymmetric(name, x))
            for name, x in kinetics.currents.items()
        }
        parts = {name: jnp.swapaxes(part, 0, 1) for name, part in parts.items()}
        parts["intrinsic"] = jnp.broadcast_to(self.intrinsic_hall, parts["skew"].shape).astype(complex)
        return {**parts, "total": sum(parts.values(), jnp.zeros(()))}

    @property
    def gyrotropic_unit(self) -> float:
        """S for 1 μ_B eV Å ps /(eV Å^d)."""
        return 1e-12 * units.moment_velocity_density(self.dimension) * units.ELEMENTARY_CHARGE

    @property
    def conductivity_unit(self) -> float:
        """S/m for 1 (eV Å)² ps /(eV Å^d)."""
        return 1e-12 * units.velocity_velocity_density(self.dimension) * units.ELEMENTARY_CHARGE**2

    def complete(self, values: Values) -> dict[str, ArrayLike]:
        """``values`` with all that is left out.

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


def summed(tau: Array, omega: Array, power: int, factor: Array, tensor: Array) -> Complex[Array, "F R ..."]:
    """Σ_E c [τ/(1−iωτ)]ⁿ K: frequencies and factors (F or 1, R, E) against tensors (R, E, ...)."""
    if jnp.ndim(tau) == 0:
        relaxed = (tau / (1 - 1j * omega * tau)) ** power
        sums = jnp.einsum("fre,re...->fr...", factor, tensor)
        return relaxed.reshape(-1, *(1,) * (sums.ndim - 1)) * sums
    relaxed = (tau / (1 - 1j * omega[:, None, None] * tau)) ** power * factor
    return jnp.einsum("fre,re...->fr...", relaxed, tensor.astype(complex))


def traceless(current: Array) -> Array:
    """K_ab − δ_ab Tr K."""
    return current - jnp.trace(current, axis1=-2, axis2=-1)[..., None, None] * jnp.eye(3)


def antisymmetric(name: str, current: Array) -> Array:
    """The Hall tensor of a mechanism from Σ W v_a Q_b or Σ W v_a v_sj,b."""
    return HALL_FACTORS[name] * (current - jnp.swapaxes(current, -1, -2))


class Gathered(NamedTuple):
    """What every table takes from its surface, and the shells' states in the order of the table."""

    energies: Energies
    moment: Array
    drude: Array
    intrinsic_hall: Array
    hall_error: float
    dimension: int
    states: list[list[ShellStates]]


def turned(surface: Surface, states: ShellStates, vectors: np.ndarray) -> np.ndarray:
    """Σ W (x×v)_a v_b in μ_B eV Å ..., for x = Q or v_sj (N, 3) of a shell."""
    weighted = surface.weight[states.shell.points, None] * np.cross(vectors, states.velocity)
    return MAGNETON * weighted.T @ states.velocity


def current(surface: Surface, states: ShellStates, vectors: np.ndarray) -> np.ndarray:
    """Σ W v_a x_b for the same."""
    return (surface.weight[states.shell.points, None] * states.velocity).T @ vectors


def gather(surface: Surface, window: tuple[float, float] | None = None) -> Gathered:
    """The part of a table that does not depend on the kind of disorder.

    Args:
        surface: from :func:`fermi_surface`.
        window: interval of its energies in eV; by default what a thermal surface has.
    """
    shells: list[list[Shell]] = [
        sorted((s for s in surface.shells if s.replica == replica), key=lambda s: s.energy)
        for replica in range(surface.replicas)
    ]

    def tensor(shell: Shell, left: np.ndarray) -> np.ndarray:
        part = shell.points
        return (surface.weight[part, None] * left[part]).T @ surface.velocity[part]

    energy = padded([[np.array(s.energy) for s in row] for row in shells], ())
    present = padded([[np.array(True) for _ in row] for row in shells], (), bool)
    energy = np.where(present, energy, surface.fermi_level)
    kt = units.BOLTZMANN * surface.temperature
    if window is None:
        window = (surface.fermi_level - TAIL * kt, surface.fermi_level + TAIL * kt)
    found = energy[present] if present.any() else np.array([surface.fermi_level])
    empty = (bool(found.min() > window[0] + 2 * STEP * kt), bool(found.max() < window[1] - 2 * STEP * kt))
    hall, hall_error = intrinsic_conductivity(surface)
    return Gathered(
        Energies(
            jnp.asarray(energy),
            surface.fermi_level,
            surface.temperature,
            window,
            empty,
            surface.sampler.bin_width(Thermal(surface.fermi_level, surface.temperature)) is not None,
        ),
        jnp.asarray(padded([[tensor(s, surface.orbital_moment) for s in row] for row in shells], (3, 3))),
        jnp.asarray(padded([[tensor(s, surface.velocity) for s in row] for row in shells], (3, 3))),
        jnp.asarray(hall),
        hall_error,
        surface.model.dimension,
        [[ShellStates(surface, s) for s in row] for row in shells],
    )
