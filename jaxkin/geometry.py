"""Band geometry at one k: velocity, covariant derivative, Berry curvature, orbital moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Int
from scipy.constants import physical_constants

from jaxkin import units
from jaxkin.brief import brief, lines, plural, ranged
from jaxkin.checks import check_number, numbers
from jaxkin.devices import spread
from jaxkin.errors import ModelError
from jaxkin.hamiltonian.bloch import BlochModel, KPoint
from jaxkin.hamiltonian.eigenpair import Iterate, bordered, iterate
from jaxkin.hamiltonian.eigensolvers import batched_eigensystems
from jaxkin.hamiltonian.eigensystem import DEGENERACY, DEGENERACY_TOLERANCE, eigensystem
from jaxkin.hamiltonian.spectrum import operators
from jaxkin.namespace import AnyArray, is_traced

ELECTRON_G = abs(physical_constants["electron g factor"][0])
_NEXT = np.array([1, 2, 0])
_PREVIOUS = np.array([2, 0, 1])


class Eigen(NamedTuple):
    """What the geometry of every band at a k needs.

    Attributes:
        energies: ascending, eV, (..., n).
        states: as columns, (..., n, n).
        derivative: D_aH on the orbitals in eV Å, (..., 3, n, n).
    """

    energies: Float[Array, "... n"]
    states: Complex[Array, "... n n"]
    derivative: Complex[Array, "... 3 n n"]


class Trust(NamedTuple):
    """What says whether the geometry of an eigenpair is that of a band.

    Attributes:
        change: ‖δu‖ that the last solve still finds, (...,).
        gap: distance to the next eigenvalue in eV, from above, (...,).
        scale: largest element of H in eV, (...,): rounding makes ‖δu‖ about 1e-16 ``scale/gap``.
    """

    change: Float[Array, "..."]
    gap: Float[Array, "..."]
    scale: Float[Array, "..."]


class BandGeometry(eqx.Module):
    """Geometry of a band; leading axes are those of the k given.

    Attributes:
        energy: ε in eV.
        velocity: ∂ε/∂k in eV Å, (..., 3).
        berry_curvature: Ω in Å², (..., 3), Eq. (15), Ω_z = −2 Im⟨D_x u|D_y u⟩.
        orbital_moment: m in μ_B, (..., 3), Eq. (4), for electrons (charge −|e|); of spin too, where the model has it.
        spin_moment: the part of it that is spin's, −½ g_s⟨σ⟩ in μ_B, (..., 3); zero for a model without spin operators.
        state: |u⟩ on the orbitals, normalised, (..., n), gauge-dependent.
        covariant_derivative: |D_a u⟩ in Å, (..., 3, n), orthogonal to the whole degenerate set.
    """

    energy: Float[Array, "..."]
    velocity: Float[Array, "... 3"]
    berry_curvature: Float[Array, "... 3"]
    orbital_moment: Float[Array, "... 3"]
    spin_moment: Float[Array, "... 3"]
    state: Complex[Array, "... n"]
    covariant_derivative: Complex[Array, "... 3 n"]

    @brief
    def __repr__(self) -> str:
        size, points = (lambda x: ranged(np.linalg.norm(x, axis=-1))), int(np.size(self.energy))
        return lines(
            f"BandGeometry of {plural(points, 'k point')}",
            f"energy {ranged(self.energy)} eV",
            f"|velocity| {size(self.velocity)} eV Å",
            f"|Berry curvature| {size(self.berry_curvature)} Å²",
            f"|orbital moment| {size(self.orbital_moment)} μ_B",
            "ask for .energy, .velocity, .berry_curvature, .orbital_moment, .state, .covariant_derivative",
        )


def band_geometry(
    model: BlochModel,
    k: Float[Array | np.ndarray, "*batch d"],
    band: int | Sequence[int] | Int[Array | np.ndarray, "*batch"],
    *,
    degeneracy: float = DEGENERACY,
) -> BandGeometry:
    """Velocity, Berry curvature and moment of a band, by automatic differentiation of H(k).

    With D|u⟩ = Σ_{m∉set} |m⟩⟨m|D_aH|u⟩/(ε − ε_m):

    - Ω = i⟨Du|×|Du⟩, Eqs. (15), (25), plus ⟨u|F|u⟩ for a model with position matrices;
    - m = (iħe/2)⟨Du|×(h−ε)|Du⟩, Eqs. (4), (26), reported in μ_B with e = −|e| (electrons), so
      m_z = +(|e|/ħ) Im⟨D_x u|(h−ε)|D_y u⟩, completed by what lies outside the Wannier functions' space where the
      model has ``hr_matrices``; plus −½ g_s μ_B⟨σ⟩ if it has spin operators, plus its prescribed ``moment``.

    A degenerate set, bands each closer than ``degeneracy`` to the next, is projected out of D as a whole. For an
    integer ``band`` curvature and moment are the mean over the set the band belongs to (so that adding up its bands
    gives the trace); the velocity is its own, and a mean where energies are equal to rounding. For a sequence
    of bands they are the trace over just these bands, which must be separated from the others (``energy``
    is their mean).

    Args:
        model: any Bloch model.
        k: model coordinates, (d,) or (N, d).
        band: index from 0 upwards, or (N,) indices for (N, d) k; or a tuple of indices: their trace.
        degeneracy: eV; what Wannier functions split by less is one set, whose bands' own moments are accidents.

    Raises:
        ModelError: a band index outside 0..n−1, or k of the wrong dimension.
        JaxkinError: k, band or degeneracy that are no finite numbers.

    >>> import jaxkin as jk
    >>> model = jk.models.get("massive-dirac-2d", velocity=1.0, mass=0.5)
    >>> geom = jk.band_geometry(model, [0.0, 0.0], 1)
    >>> round(float(geom.berry_curvature[2]), 6)  # −v²Δ/2ε³ of the upper band
    -2.0
    """
    k = jnp.asarray(k, float) if is_traced(k) else jnp.asarray(numbers("k", k, "finite model coordinates"))
    if k.shape[-1:] != (model.dimension,):
        raise ModelError(f"k has shape {k.shape}; the last axis must hold {model.dimension} coordinates.")
    check_number("degeneracy", degeneracy, "a distance in eV, zero or more", least=0)
    indices = None if is_traced(band) else numbers("band", band, "whole numbers", int)
    if indices is not None and (indices.size == 0 or indices.min() < 0 or indices.max() >= model.size):
        raise ModelError(f"band {indices.tolist()} is outside 0..{model.size - 1} of this model.")
    band = band if indices is None or isinstance(band, Sequence) else indices
    if isinstance(band, Sequence):
        members = jnp.zeros(model.size).at[jnp.asarray(band)].set(1.0)
        function = eqx.filter_vmap(_trace_geometry, in_axes=(None, 0, None)) if k.ndim == 2 else _trace_geometry
        return eqx.filter_jit(function)(model, k, members)
    if k.ndim == 1:
        return eqx.filter_jit(_mean_geometry)(model, k, jnp.asarray(band), jnp.asarray(degeneracy))
    return batched_geometry(model, k, jnp.broadcast_to(jnp.asarray(band), k.shape[:1]), jnp.asarray(degeneracy))


@eqx.filter_jit
def batched_geometry(
    model: BlochModel,
    k: Float[Array | np.ndarray, "N d"],
    band: Int[Array | np.ndarray, " N"],
    degeneracy: AnyArray = DEGENERACY,
) -> BandGeometry:
    """:func:`band_geometry` of N points, compiled; no checks."""
    return jax.vmap(lambda point, index: _mean_geometry(model, point, index, degeneracy))(k, band)


def diagonalised(model: BlochModel, k: Float[Array | np.ndarray, "N d"], count: int | None = None) -> Eigen:
    """Of N points; those after ``count`` fill a bucket up."""
    h, derivative = operators(model, spread(k))
    return Eigen(*batched_eigensystems(h, count), derivative)


def geometry_of_all_bands(model: BlochModel, k: Float[Array | np.ndarray, "N d"]) -> dict[str, Float[Array, "N n 3"]]:
    """Vectors of all bands at N points as in :class:`BandGeometry`, each point diagonalised once; no checks."""
    return _of_all_bands(model, k, diagonalised(model, k))


@eqx.filter_jit
def _of_all_bands(model: BlochModel, k: Float[Array | np.ndarray, "N d"], eigen: Eigen) -> dict[str, Array]:
    def one(point: KPoint, eigen: Eigen) -> dict[str, Array]:
        members, equal = (x.astype(float) for x in _sets(eigen.energies, DEGENERACY))
        found = _geometry(model, point, eigen, 1 - members, members / members.sum(axis=0), equal / equal.sum(axis=0))
        names = ("velocity", "berry_curvature", "orbital_moment", "spin_moment")
        return {name: getattr(found, name).T for name in names}

    return jax.vmap(one)(k, eigen)


@eqx.filter_jit
def separate_geometry(
    model: BlochModel,
    k: Float[Array | np.ndarray, "N d"],
    eigen: Eigen,
    band: Int[Array | np.ndarray, "N m"],
    names: tuple[str, ...],
) -> tuple[dict[str, Array], Float[Array, "N m"]]:
    """Attributes ``names`` of :class:`BandGeometry`, (N, m, ...), of m bands at each k as if they were not degenerate.

    Also the distance to the nearest other band: those with one closer than a set's distance need :func:`mean_geometry`.
    """

    def one(point: KPoint, eigen: Eigen, bands: Array) -> tuple[dict[str, Array], Array]:
        state = eigen.states[:, bands]
        others = jnp.arange(model.size)[:, None] != bands
        gap = eigen.energies[bands] - eigen.energies[:, None]
        distance = jnp.min(jnp.where(others, jnp.abs(gap), jnp.inf), axis=0, initial=jnp.inf)
        column = _dagger(eigen.states) @ (eigen.derivative @ state)  # ⟨m|D_aH|b⟩, (3, n, m)
        velocity = jnp.real(jnp.sum(jnp.where(others, 0.0, column), axis=1))
        mixing = jnp.where(others, 1 / jnp.where(others, gap, 1.0), 0.0) * column
        covariant = eigen.states @ mixing
        found = mixing, gap, Bands(eigen.energies[bands], state, covariant)
        curvature, moment, spin = _vectors(model, point, *found)
        geometry = BandGeometry(
            energy=eigen.energies[bands],
            velocity=velocity.T,
            berry_curvature=curvature.T,
            orbital_moment=moment.T,
            spin_moment=spin.T,
            state=state.T,
            covariant_derivative=jnp.moveaxis(covariant, -1, 0),
        )
        return {name: getattr(geometry, name) for name in names}, distance

    return jax.vmap(one)(k, eigen, jnp.asarray(band))


@eqx.filter_jit
def mean_geometry(
    model: BlochModel,
    k: Float[Array | np.ndarray, "N d"],
    eigen: Eigen,
    band: Int[Array | np.ndarray, " N"],
    degeneracy: AnyArray,
) -> BandGeometry:
    """:func:`batched_geometry` of points that are diagonalised already."""
    return jax.vmap(lambda point, one, index: _mean_of(model, point, one, index, degeneracy))(k, eigen, band)


def pair_geometry(
    model: BlochModel, k: KPoint, energy: Float[Array, ""], start: Complex[Array, " n"], other: Complex[Array, " n"]
) -> tuple[BandGeometry, Iterate, Trust]:
    """Geometry of the band whose energy at k is nearest to ``energy``, by two solves.

    D_a|u⟩ = (ε − H)⁺D_aH|u⟩, and as it is orthogonal to |u⟩, (h − ε)D_b|u⟩ in the moment is −D_bH|u⟩. The state comes
    from one inverse iteration and is off by about ‖δu‖ = ``change``: where that is too much, call again with what is
    returned. No degenerate sets, and three bands at least.

    Args:
        model: any Bloch model.
        k: model coordinates, (d,).
        energy: near that of the band, eV.
        start: not orthogonal to the state, (n,).
        other: generic, for the distance to the next band, (n,).

    Returns:
        The geometry, the energy and vectors to go on from, and what to trust it by.
    """
    h, derivative = model.hamiltonian_and_derivative(k)
    first = iterate(h, energy, start, other)
    image = derivative @ first.state  # D_aH|u⟩, (3, n)
    zero = jnp.zeros_like(first.state)
    right = jnp.concatenate([image, jnp.stack([first.other, zero])]).T
    x, s = bordered(h, first.energy, first.state, right, np.array([0.0, 0.0, 0.0, 0.0, 1.0]))
    covariant, rest, refined = -x[:, :3].T, x[:, 3], x[:, 4]
    gap = jnp.linalg.norm(first.other - s[3] * first.state) / jnp.linalg.norm(rest)
    gap = jnp.where(jnp.isfinite(gap), jnp.minimum(gap, first.gap), 0.0)
    change = jnp.linalg.norm(refined - first.state)
    cross = covariant[_NEXT].conj()
    curvature = -2 * jnp.imag(jnp.sum(cross * covariant[_PREVIOUS], axis=1))
    moment = -units.MAGNETON_PER_EV_A2 * jnp.imag(jnp.sum(cross * image[_PREVIOUS], axis=1))
    found = Bands(first.energy[None], first.state[:, None], covariant[..., None])
    curvature, moment, spin = _completed(model, k, curvature[:, None], moment[:, None], found)
    geometry = BandGeometry(
        energy=first.energy,
        velocity=jnp.real(image @ first.state.conj()),
        berry_curvature=curvature[:, 0],
        orbital_moment=moment[:, 0],
        spin_moment=spin[:, 0],
        state=first.state,
        covariant_derivative=covariant,
    )
    onward = Iterate(
        first.energy, refined / jnp.linalg.norm(refined), first.residual, rest / jnp.linalg.norm(rest), gap
    )
    return geometry, onward, Trust(change, gap, jnp.max(jnp.abs(h)))


def _eigen(model: BlochModel, k: KPoint) -> Eigen:
    h, derivative = model.hamiltonian_and_derivative(k)
    return Eigen(*eigensystem(h), derivative)


def _mean_geometry(model: BlochModel, k: KPoint, band, degeneracy) -> BandGeometry:
    return _mean_of(model, k, _eigen(model, k), band, degeneracy)


def _mean_of(model: BlochModel, k: KPoint, eigen: Eigen, band, degeneracy) -> BandGeometry:
    energies = eigen.energies
    members, equal = (x[:, band].astype(float) for x in _sets(energies, degeneracy))
    outside = (1 - members)[:, None] * members
    full = _geometry(model, k, eigen, outside, members / members.sum(), equal / equal.sum())
    return eqx.tree_at(
        lambda g: (g.energy, g.state, g.covariant_derivative),
        full,
        (energies[band], eigen.states[:, band], full.covariant_derivative[..., band]),
    )


def _sets(energies: Float[Array, " n"], degeneracy: AnyArray) -> tuple[Bool[Array, "n n"], Bool[Array, "n n"]]:
    """Which bands belong to one set, and which have one energy."""
    number = jnp.cumsum(jnp.diff(energies, prepend=energies[:1]) >= degeneracy)
    equal = jnp.abs(energies[:, None] - energies) < DEGENERACY_TOLERANCE
    return number[:, None] == number, equal


def _trace_geometry(model: BlochModel, k: KPoint, members: Float[Array, " n"]) -> BandGeometry:
    full = _geometry(model, k, _eigen(model, k), (1 - members)[:, None] * members, members, members)
    return eqx.tree_at(lambda g: g.state, full, full.state @ members)


def _geometry(model: BlochModel, k: KPoint, eigen: Eigen, outside, weights, equal) -> BandGeometry:
    """Sums over bands b with ``weights``, of velocities with ``equal``, (n,) or (n, sums) for several at once.

    D|b⟩ takes the bands m ``outside`` the set of b, 0/1 (m, b).
    """
    energies, states = eigen.energies, eigen.states
    velocity = _dagger(states) @ eigen.derivative @ states  # (3, n, n), eigenbasis
    gap = energies[None, :] - energies[:, None]  # ε_b − ε_m of ⟨m|…|b⟩
    mixing = velocity * jnp.where(outside > 0, outside / jnp.where(outside > 0, gap, 1.0), 0.0)
    covariant = states @ mixing
    curvature, moment, spin = _vectors(model, k, mixing, gap, Bands(energies, states, covariant))
    return BandGeometry(
        energy=energies @ weights / weights.sum(axis=0),
        velocity=jnp.real(jnp.diagonal(velocity, axis1=1, axis2=2)) @ equal,
        berry_curvature=curvature @ weights,
        orbital_moment=moment @ weights,
        spin_moment=spin @ weights,
        state=states,
        covariant_derivative=covariant,
    )


class Bands(NamedTuple):
    """ε (b,) in eV, |u⟩ as columns (n, b) and |D_a u⟩ in Å (3, n, b) of b bands at one k."""

    energies: Float[Array, " b"]
    states: Complex[Array, "n b"]
    covariant: Complex[Array, "3 n b"]


def _vectors(model: BlochModel, k: KPoint, mixing, gap, bands: Bands) -> tuple[Float[Array, "3 b"], ...]:
    """Curvature, moment and the spin's part of it, of bands b from ``mixing`` = ⟨m|D_a u_b⟩ and ``gap`` = ε_b − ε_m."""
    cross = mixing[_NEXT].conj() * mixing[_PREVIOUS]  # ⟨D_a u|m⟩⟨m|D_b u⟩, ab c cyclic
    curvature = -2 * jnp.imag(cross.sum(axis=1))
    moment = units.MAGNETON_PER_EV_A2 * jnp.imag((cross * -gap).sum(axis=1))
    return _completed(model, k, curvature, moment, bands)


def _completed(model: BlochModel, k: KPoint, curvature, moment, bands: Bands) -> tuple[Array, Array, Array]:
    """With what lies outside the orbitals' space, their spin, and the model's moment; and what spin adds."""
    outer_curvature = model.wannier_curvature(k)
    if outer_curvature is not None:
        outer_curvature = _expectation(outer_curvature, bands.states)
        curvature = curvature + outer_curvature
        outer_moment = _outer_moment(model, k, outer_curvature, bands)
        if outer_moment is not None:
            moment = moment + units.MAGNETON_PER_EV_A2 * outer_moment
    spin, pauli = jnp.zeros_like(moment), model.pauli(k)
    if pauli is not None:
        spin = -0.5 * ELECTRON_G * _expectation(pauli, bands.states)
    if model.moment is not None:
        moment = moment + jnp.asarray(model.moment(k))[:, None]
    return curvature, moment + spin, spin


def _outer_moment(model: BlochModel, k: KPoint, outer_curvature: Array, bands: Bands) -> Float[Array, "3 b"] | None:
    """What completes Im⟨D_a u|(h−ε)|D_b u⟩ by the part of |D_a u⟩ outside the Wannier functions' space, in eV Å².

    Re[⟨D_b u|B̃_a|u⟩ − ⟨D_a u|B̃_b|u⟩] + Im⟨u|C̃_ab|u⟩ + ½ε⟨u|F_c|u⟩ with B̃ = B − h r, C̃_ab = C_ab − r_a B_b − B†_a r_b +
    r_a h r_b, B_a = i⟨w|H|∂_a w⟩ and C_ab = ⟨∂_a w|H|∂_b w⟩: M. G. Lopez et al., PRB 85, 014435 (2012).
    """
    more, r = model.hamiltonian_moments(k), model.position(k)
    if more is None or r is None:
        return None
    u, (b, c), h = bands.states, more, model.hamiltonian(k)
    moved, weighed = r @ u, b @ u  # r_a|u⟩, B_a|u⟩
    back = h @ moved
    outer = weighed - back  # B̃_a|u⟩

    def between(left: Array, right: Array) -> Array:
        """⟨left_a|right_b⟩ of every band, abc cyclic."""
        return jnp.sum(left[_NEXT].conj() * right[_PREVIOUS], axis=1)

    crossed = jnp.sum(bands.covariant[_PREVIOUS].conj() * outer[_NEXT], axis=1) - between(bands.covariant, outer)
    inside = between(moved, back) - between(moved, weighed) - between(weighed, moved)
    return jnp.real(crossed) + jnp.imag(inside) - 0.5 * _expectation(c, u) + 0.5 * bands.energies * outer_curvature


def _dagger(matrix: Complex[Array, "n n"]) -> Complex[Array, "n n"]:
    return matrix.conj().T


def _expectation(operator: Complex[Array, "3 n n"], states: Complex[Array, "n b"]) -> Float[Array, "3 b"]:
    """⟨u_b|O_a|u_b⟩ of every band."""
    return jnp.real(jnp.einsum("mb,amn,nb->ab", states.conj(), operator, states))
