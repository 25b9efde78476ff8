"""Phonons whose potential electrons feel, where a collision hardly changes their energy."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxkin import units
from jaxkin.brief import brief, constructed
from jaxkin.checks import check_kind, check_positive
from jaxkin.disorder.amplitude import golden_rule
from jaxkin.disorder.collisions import Collisions
from jaxkin.disorder.kernels import Disorder, Scatterer
from jaxkin.disorder.pairwise import PairwiseCollisions
from jaxkin.disorder.phonon_kernels import Crystal, Overlap, OverlapJump, OverlapKernel
from jaxkin.disorder.point import PointImpurity
from jaxkin.disorder.potentials import COULOMB, ScreenedCoulomb
from jaxkin.disorder.states import States
from jaxkin.errors import JaxkinError
from jaxkin.namespace import AnyArray, Number, is_traced, leaf
from jaxkin.surface.surface import Surface

DENSE = 1e-9
"""eV: the potential of each of the many weak scatterers that a Gaussian random potential is the limit of."""
SAME_PLACE = 1e-9
"""Å."""
KELVIN = "a positive number of kelvin, or None for that of the surface"


def phonon_temperature(given: Number | None, surface: Surface, name: str) -> Number:
    """T in K of the lattice: as given, or that of a surface.

    Raises:
        JaxkinError: a surface at T = 0, where there are no phonons.
    """
    if given is not None:
        return given
    if not is_traced(surface.temperature) and not surface.temperature:
        raise JaxkinError(
            f"{name}: the surface is at T = 0, where no phonons are excited; sample it at T > 0, or give the lattice's "
            "`temperature`."
        )
    return surface.temperature


class ElasticPhonons(Disorder):
    """Base of phonons that scatter like a frozen random potential: Gaussian, of correlator C(q) in eV² Å^d.

    w_{pp'} = (2π/ħ) C(k − k') |⟨u|u'⟩|² δ(ε − ε'), with k' the nearest of its images and |u⟩ with the orbitals'
    positions in its phases, so that the potential is smooth in the cell. Emission and absorption together; energies
    ħω of the phonons ≪ k_BT, and ≪ the energies over which carriers are spread, are left out. Coordinate shifts are
    those of the same overlaps, Eq. (36). Born: no skew scattering of one collision. In a k·p model, in one whose
    orbitals share a place, and where C does not depend on q, Gaussian skew scattering is computed, that with
    :class:`PointImpurity` included, and everything takes O(N); else pairs of states are summed.
    """

    if TYPE_CHECKING:  # a field with a default of those below
        temperature: Number | None

    @abc.abstractmethod
    def correlation(self, surface: Surface, temperature: Number) -> Callable[[Array], Array]:
        """C in eV² Å^d, a JAX function of q (3,) in Å⁻¹; a pytree.

        Args:
            surface: whose states screen.
            temperature: of the lattice in K.
        """

    def constant(self, surface: Surface, temperature: Number) -> Number | None:
        """C in eV² Å^d where it is the same for all q, with arguments as of :meth:`correlation`."""
        del surface, temperature

    def factor(self, reference: float) -> Callable[[Array], Array] | None:
        """C at T over that at a ``reference`` in K, a function of T; None where that depends on q."""
        del reference

    @brief
    def __repr__(self) -> str:
        return constructed(self)

    def resolved(self, surface: Surface) -> Disorder:
        kelvin = phonon_temperature(self.temperature, surface, type(self).__name__)
        size, centres = self.constant(surface, kelvin), _known_centres(surface)
        if size is None or np.abs(centres - centres[0]).max() > SAME_PLACE:
            return self
        each = surface.model.state_volume * DENSE
        return PointImpurity(DENSE, range(surface.model.size), size / each**2, order="born", rtol=1.0)

    def on(self, surface: Surface) -> Scatterer:
        there = self.resolved(surface)
        if there is not self:
            return there.on(surface)
        model, kelvin = surface.model, phonon_temperature(self.temperature, surface, type(self).__name__)
        centres = np.round(_known_centres(surface), 9)
        _, first, place = np.unique(centres, axis=0, return_index=True, return_inverse=True)
        if model.periodic:
            members = tuple(tuple(np.flatnonzero(place.ravel() == n).tolist()) for n in range(len(first)))
            crystal = Crystal(model.basis, jnp.asarray(model.centres)[first], members)
        else:
            crystal = Crystal(None, np.zeros((1, 3)), (tuple(range(model.size)),))
        return ElasticPhononScatterer(Overlap(self.correlation(surface, kelvin), crystal))


def _known_centres(surface: Surface) -> np.ndarray:
    """Those of the surface that was sampled, (n, 3) in Å, which decide what is summed."""
    with jax.ensure_compile_time_eval():
        return np.asarray(surface.sampled.model.centres)


class ElasticPhononScatterer(Scatterer):
    """A smooth random potential on a surface, by pairs of states."""

    overlap: Overlap
    bloch: ClassVar[bool] = True  # pyright: ignore[reportIncompatibleMethodOverride]
    pairs: ClassVar[bool] = False  # pyright: ignore[reportIncompatibleMethodOverride]

    def side_jump_of(self, states: States) -> Array:
        return self(states).side_jump_velocity

    def __call__(self, states: States) -> Collisions:
        assert states.bloch is not None
        scale = golden_rule(1.0)
        kernel, jump = OverlapKernel(self.overlap, scale), OverlapJump(self.overlap, scale)
        return PairwiseCollisions(states, (states.k, *states.bloch), kernel, None, jump)


class Phonons(ElasticPhonons):
    """Phonons of a correlator of your own: w_{pp'} = (2π/ħ) C(k − k', T) |⟨u|u'⟩|² δ(ε − ε').

    For a coupling M_q of one mode in the volume 𝒱, C = 𝒱|M_q|²(2N + 1), N the phonons' number at T: emission and
    absorption. Piezoelectric: C = k_BT (e e₁₄/ε)²/ρc² · q²/(q² + κ²)². See docs/impurities.md, "Phonons".

    Args:
        correlator: C in eV² Å^d, a JAX function of Cartesian q (3,) in Å⁻¹ and of T in K.
        temperature: of the lattice in K; None takes the surface's.

    Raises:
        JaxkinError: a temperature that is not positive, a correlator that is no function, or a surface at T = 0.

    >>> import jax.numpy as jnp, jaxkin as jk
    >>> surface = jk.fermi_surface(jk.models.get("helical-isotropic"), 0.5, sampler=jk.Lines(8), replicas=2)
    >>> forward = jk.Phonons(lambda q, T: 0.01 * T * jnp.exp(-q @ q), temperature=300.0)
    >>> c = forward.collisions(surface, surface.shells[0])
    >>> bool(1 / c.rate.max() < c.transport_time)  # more forward than backward
    True
    """

    correlator: Callable
    temperature: Number | None = eqx.field(default=None, converter=leaf)

    def __check_init__(self):
        check_kind("correlator", self.correlator, Callable, "a JAX function of q and T")
        check_positive("temperature", self.temperature, KELVIN, optional=True)

    def correlation(self, surface: Surface, temperature: Number) -> Callable[[Array], Array]:
        return _AtTemperature(self.correlator, leaf(temperature))


class _AtTemperature(eqx.Module):
    """C(q, T) at T."""

    correlator: Callable
    temperature: Float[AnyArray, ""]

    def __call__(self, q: Array) -> Array:
        return self.correlator(q, self.temperature)


class AcousticPhonons(ElasticPhonons):
    """Acoustic phonons by their deformation potential: w_{pp'} = (2π/ħ) (k_BT D²/ρc²) |⟨u|u'⟩|² δ(ε − ε').

    Emission and absorption, quasi-elastic and in equipartition: k_BT ≫ ħc|k − k'|, J. Bardeen and W. Shockley, Phys.
    Rev. 80, 72 (1950). For a parabolic band 1/τ = (2π/ħ) D² k_BT ν/ρc², ν its states of one spin. With
    ``bloch_gruneisen`` there is a factor [½x/sinh ½x]², x = ħc|k − k'|/k_BT: occupations averaged over a degenerate
    Fermi gas, with which 1/τ ∝ T⁵ at low T.

    Args:
        deformation_potential: D in eV; of the orbitals, all the same.
        mass_density: ρ in kg/m³ (in 2D kg/m²).
        sound_velocity: c of the longitudinal branch in m/s.
        temperature: of the lattice in K; None takes the surface's.
        bloch_gruneisen: as above.
        cutoff: largest |k − k'| in Å⁻¹; None is none. One smaller than the distance of valleys leaves out scattering
            between them, for which D is another.

    Raises:
        JaxkinError: a number that is not positive; a surface at T = 0 without ``temperature``.

    >>> import jaxkin as jk
    >>> phonons = jk.AcousticPhonons(6.0, mass_density=6.2e3, sound_velocity=2.6e3)
    >>> surface = jk.fermi_surface(jk.models.get("helical-isotropic"), 0.5, 300.0, jk.Lines(8), replicas=2)
    >>> response = jk.gyrotropic_response(surface, jk.RelaxationTime(1.0) + phonons)
    >>> bool(response.tau.mean < 1.0)
    True
    """

    deformation_potential: Number = eqx.field(converter=leaf)
    mass_density: Number = eqx.field(converter=leaf)
    sound_velocity: Number = eqx.field(converter=leaf)
    temperature: Number | None = eqx.field(default=None, converter=leaf)
    bloch_gruneisen: bool = eqx.field(default=False, static=True)
    cutoff: Number | None = eqx.field(default=None, converter=leaf)

    def __check_init__(self):
        check_positive("deformation_potential", self.deformation_potential, "a positive energy in eV")
        check_positive("mass_density", self.mass_density, "a positive mass density in kg/m^d")
        check_positive("sound_velocity", self.sound_velocity, "a positive velocity in m/s")
        check_positive("temperature", self.temperature, KELVIN, optional=True)
        check_positive("cutoff", self.cutoff, "a positive wave number in Å⁻¹, or None", optional=True)

    def _size(self, surface: Surface, temperature: Number) -> Number:
        """k_BT D²/ρc² in eV² Å^d."""
        stiffness = self.mass_density * self.sound_velocity**2  # J/m^d
        stiffness = stiffness / (units.ELEMENTARY_CHARGE * units.per_volume(surface.model.dimension))
        return units.BOLTZMANN * temperature * self.deformation_potential**2 / stiffness

    def constant(self, surface: Surface, temperature: Number) -> Number | None:
        return None if self.bloch_gruneisen or self.cutoff is not None else self._size(surface, temperature)

    def correlation(self, surface: Surface, temperature: Number) -> Callable[[Array], Array]:
        size = leaf(self._size(surface, temperature))
        thermal = None
        if self.bloch_gruneisen:
            thermal = units.BOLTZMANN * temperature / (units.HBAR * 1e-2 * self.sound_velocity)
        return _Acoustic(size, leaf(thermal), self.cutoff)

    def factor(self, reference: float) -> Callable[[Array], Array] | None:
        return None if self.bloch_gruneisen else _Proportional(reference)


class _Proportional(eqx.Module):
    """T over a reference."""

    reference: float = eqx.field(static=True)

    def __call__(self, temperature: Array) -> Array:
        return temperature / self.reference


class _Acoustic(eqx.Module):
    """k_BT D²/ρc², up to a cutoff, with the occupations of phonons beyond a ``thermal`` k_BT/ħc."""

    size: Float[AnyArray, ""]
    thermal: Float[AnyArray, ""] | None
    cutoff: Float[AnyArray, ""] | None

    def __call__(self, q: Array) -> Array:
        square, value = q @ q, jnp.asarray(self.size)
        if self.thermal is not None:
            half = 0.5 * jnp.sqrt(jnp.maximum(square / self.thermal**2, 1e-12))
            # beyond 600 nothing is left, and sinh² overflows
            value = value * jnp.where(half < 300, (half / jnp.sinh(jnp.minimum(half, 300.0))) ** 2, 0.0)
        return value if self.cutoff is None else jnp.where(square <= self.cutoff**2, value, 0.0)


class PolarPhonons(ElasticPhonons):
    """Polar optical phonons, statically screened: w_{pp'} = (2π/ħ) C(k − k') |⟨u|u'⟩|² δ(ε − ε') with

    C(q) = (e²ħω/2ε₀) (1/ε_∞ − 1/ε_s) (2N + 1) q²/(q² + κ²)²,  N = 1/(exp(ħω/k_BT) − 1),

    the coupling of H. Fröhlich, Adv. Phys. 3, 325 (1954), in the elastic limit: carriers are spread over energies much
    larger than ħω (tellurium: 11 meV; not GaAs at 300 K, with 36 meV). In three dimensions.

    Args:
        energy: ħω of the longitudinal mode in eV.
        dielectric: ε_∞, relative.
        static_dielectric: ε_s > ε_∞, relative.
        length: 1/κ in Å; None takes Thomas and Fermi's from the surface's density of states and ε_∞.
        temperature: of the lattice in K; None takes the surface's.

    Raises:
        JaxkinError: numbers that are not positive, ε_s ≤ ε_∞; a model that is not three-dimensional; a surface at T = 0
            without ``temperature``, or without states to screen.

    >>> import jaxkin as jk
    >>> phonons = jk.PolarPhonons(0.011, dielectric=23.0, static_dielectric=33.0, length=30.0, temperature=300.0)
    >>> surface = jk.fermi_surface(jk.models.get("helical-isotropic"), 0.5, sampler=jk.Lines(8), replicas=2)
    >>> c = phonons.collisions(surface, surface.shells[0])
    >>> bool(c.transport_time > 1 / c.rate.max())
    True
    """

    energy: Number = eqx.field(converter=leaf)
    dielectric: Number = eqx.field(converter=leaf)
    static_dielectric: Number = eqx.field(converter=leaf)
    length: Number | None = eqx.field(default=None, converter=leaf)
    temperature: Number | None = eqx.field(default=None, converter=leaf)

    def __check_init__(self):
        check_positive("energy", self.energy, "a positive energy in eV")
        check_positive("dielectric", self.dielectric, "a positive number")
        check_positive("static_dielectric", self.static_dielectric, "a positive number")
        if not is_traced(self.dielectric, self.static_dielectric) and not self.static_dielectric > self.dielectric:
            raise JaxkinError(
                f"static_dielectric={self.static_dielectric:g} must be above dielectric={self.dielectric:g}: the "
                "lattice of a polar crystal screens, too."
            )
        check_positive("length", self.length, "a positive length in Å, or None", optional=True)
        check_positive("temperature", self.temperature, KELVIN, optional=True)

    def correlation(self, surface: Surface, temperature: Number) -> Callable[[Array], Array]:
        if surface.model.dimension != 3:
            raise JaxkinError("PolarPhonons exist in three dimensions.")
        length = ScreenedCoulomb(self.dielectric, self.length).on(surface).length
        polar = 2 * jnp.pi * COULOMB * self.energy * (1 / self.dielectric - 1 / self.static_dielectric)
        return _Polar(leaf(polar * self._occupation(temperature)), leaf(length))

    def _occupation(self, temperature: AnyArray) -> Array:
        """2N + 1."""
        return 1 / jnp.tanh(0.5 * self.energy / (units.BOLTZMANN * temperature))

    def factor(self, reference: float) -> Callable[[Array], Array] | None:
        if self.length is None:
            return None
        return jax.tree_util.Partial(_ratio, self.energy, reference)


def _ratio(energy: AnyArray, reference: float, temperature: Array) -> Array:
    """2N + 1 over that at a reference."""
    half = 0.5 * energy / units.BOLTZMANN
    return jnp.tanh(half / reference) / jnp.tanh(half / temperature)


class _Polar(eqx.Module):
    """s q²/(q² + λ⁻²)²."""

    size: Float[AnyArray, ""]
    length: Float[AnyArray, ""]

    def __call__(self, q: Array) -> Array:
        square = q @ q
        return self.size * square / (square + self.length**-2) ** 2
