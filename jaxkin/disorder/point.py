"""Impurities that act on a few orbitals: one site, or a cluster of cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex
from numpy.typing import ArrayLike

from jaxkin.brief import brief, ranged
from jaxkin.checks import check_kind, check_number, check_positive, numbers, shown
from jaxkin.disorder.amplitude import Order, check_order, scattering_terms
from jaxkin.disorder.collisions import Collisions, SummedCollisions
from jaxkin.disorder.factorised import FactorisedCollisions
from jaxkin.disorder.kernels import Disorder, Scatterer
from jaxkin.disorder.orbital_moments import hermitian
from jaxkin.disorder.states import States
from jaxkin.disorder.supercell import defect_potential
from jaxkin.disorder.two_impurities import Amplitude, Kind, TwoImpurities, density_matrix
from jaxkin.errors import JaxkinError
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.linear import solve_alone
from jaxkin.hamiltonian.tight_binding import TightBinding
from jaxkin.namespace import AnyArray, Number, is_traced, leaf, namespace
from jaxkin.surface.green_rule import Groups, Located, surface_green_function
from jaxkin.surface.pair_green import surface_pair_green
from jaxkin.surface.surface import Surface
from jaxkin.symmetry.representation import partners


class Site(eqx.Module):
    """A local potential ⟨m|V|m'⟩ in eV on orbitals m, each in a cell (integers, (m, d))."""

    potential: Complex[Array | np.ndarray, "m m"]
    orbitals: tuple[int, ...] = eqx.field(static=True)
    cells: tuple[tuple[int, ...], ...] = eqx.field(static=True)


class PointImpurity(Disorder):
    """An impurity that acts on a few orbitals, V = Σ_mm' |m⟩ V_mm' ⟨m'|, in the dilute limit.

    w_{pp'} = (2π/ħ) n |⟨p|T|p'⟩|², Eq. (32), with T(ε) = (1 − V G(ε))⁻¹V and the local Green function
    G(ε) = ∫(dk)(ε + i0 − H)⁻¹ on the impurity's orbitals. Every impurity scatters alone: no crossed
    diagrams, no weak localisation (docs/impurities.md).

    Args:
        potential: V in eV, a number (the same on all ``orbitals``) or a Hermitian (m, m) matrix. In a
            k·p model, which has no cell, eV Å^d. Like the ``density`` it may be a JAX array that is
            differentiated (docs/gradients.md).
        orbitals: indices of the m orbitals it acts on; or a list of such lists, one for each of the
            equivalent sites that share the ``density`` equally.
        density: impurities per Å^d, all equivalent sites together.
        order: ``"tmatrix"`` (all orders in V), ``"third"`` (w^S of second order, w^A of third) or
            ``"born"`` (no skew scattering; no optical theorem).
        cells: (m, d) integers, the cell of each orbital: a cluster over several cells.
        rtol: accuracy of Re G, relative; what is missed is a warning.

    Raises:
        JaxkinError: a potential that is not Hermitian or of the wrong size, a density that is not
            positive, an orbital the model does not have (when it meets the model).

    >>> import jaxkin as jk
    >>> model = jk.models.get("kramers-weyl-d4")
    >>> impurity = jk.PointImpurity(2.0, orbitals=[0, 1], density=0.01)
    >>> surface = jk.fermi_surface(model, -1.2, sampler=jk.Lines(n=8), replicas=2)
    >>> bool(impurity.collisions(surface, surface.shells[0]).optical_theorem < 1e-11)
    True
    """

    sites: tuple[Site, ...]
    density: Number
    order: Order = eqx.field(static=True)
    rtol: float = eqx.field(static=True)

    def __init__(
        self,
        potential: ArrayLike,
        orbitals: Sequence[int] | Sequence[Sequence[int]],
        density: Number,
        *,
        order: Order = "tmatrix",
        cells: ArrayLike | None = None,
        rtol: float = 3e-3,
    ):
        check_order(order)
        check_positive("density", density, "a positive number of impurities per Å^d")
        check_number("rtol", rtol, "a number above 0 and below 1", least=1e-12, most=1)
        meaning = "orbital indices, [0, 1], or such a list for each equivalent site, [[0, 1], [2, 3]]"
        check_kind("orbitals", orbitals, (Sequence, np.ndarray), meaning)
        groups = [orbitals] if all(np.ndim(orbital) == 0 for orbital in orbitals) else orbitals
        self.sites = tuple(_site(potential, numbers("orbitals", group, meaning, int), cells) for group in groups)
        self.density, self.order, self.rtol = leaf(density), order, rtol

    @classmethod
    def from_supercell(
        cls,
        host: TightBinding,
        defect: TightBinding,
        matrix: ArrayLike,
        *,
        density: Number,
        smallest: float = 1e-3,
        order: Order = "tmatrix",
        rtol: float = 3e-3,
    ) -> PointImpurity:
        """The impurity in a supercell: its Hamiltonian minus that of the host folded into it, on a cluster of orbitals.

        Orbitals are matched by centre, and in order and phase by their hoppings; energies are aligned far from the
        defect; an orbital that the defect lacks is out of reach (a vacancy).

        Args:
            host: the perfect crystal.
            defect: the supercell with one defect, with the same origin.
            matrix: integers, rows the supercell's vectors in those of the host.
            density: impurities per Å^d.
            smallest: orbitals on which V is smaller than this part of its largest row are left out.
            order, rtol: as of any :class:`PointImpurity`.

        Raises:
            JaxkinError: lattices that do not fit, or a defect with orbitals of its own.

        Warns:
            AccuracyWarning: more than a twentieth of the potential is cut off.

        >>> import jaxkin as jk
        >>> chain = jk.TightBinding([[1.0]], [[-1], [1]], [[[-1.0]], [[-1.0]]], [[0.0]])
        >>> ring = np.diag([0.5, 0.0, 0.0, 0.0]) - np.eye(4, k=1) - np.eye(4, k=-1)
        >>> ends = -np.eye(4)[:, :1] @ np.eye(4)[3:]
        >>> defect = jk.TightBinding([[4.0]], [[0], [-1], [1]], [ring, ends, ends.T], np.arange(4)[:, None] / 4)
        >>> jk.PointImpurity.from_supercell(chain, defect, [[4]], density=0.01)
        PointImpurity(0.5 eV on orbitals [0], density=0.01 per Å^d, order='tmatrix')
        """
        found = defect_potential(host, defect, matrix, smallest)
        return cls(found.potential, found.orbitals, density, order=order, cells=found.cells, rtol=rtol)

    @brief
    def __repr__(self) -> str:
        first, count = self.sites[0], len(self.sites)
        v = np.asarray(first.potential)
        same = np.allclose(v, v[0, 0] * np.eye(len(v)))
        potential = (
            f"{v[0, 0].real:.4g} eV" if same else f"a matrix with eigenvalues {ranged(np.linalg.eigvalsh(v))} eV"
        )
        return (
            f"PointImpurity({potential} on orbitals {list(first.orbitals)}, density={float(self.density):.4g} per Å^d, "
            f"order={self.order!r}{f', {count} equivalent sites' if count > 1 else ''})"
        )

    def symmetrized(self, model: BlochModel) -> PointImpurity:
        """The same impurity on all sites that the crystal's symmetry makes equivalent, sharing the density.

        How the orbitals transform is found on H(k): :func:`jaxkin.symmetry.partners`.

        Raises:
            SymmetryError: the orbitals' representation could not be found; list the sites instead.
            JaxkinError: a k·p model, which has no sites.
        """
        if not isinstance(model, TightBinding):
            raise JaxkinError("a k·p model has no sites to symmetrize over.")
        if is_traced(self.sites):
            raise JaxkinError("symmetrize the impurity before its potential is differentiated.")
        checked = [located_site(site, model) for site in self.sites]
        images = [image for one in checked for image in partners(model, one.potential, one.orbitals, one.cells)]
        sites = [Site(v, tuple(map(int, o)), _integers(c)) for v, o, c in images]
        return eqx.tree_at(lambda d: d.sites, self, tuple(sites))

    def on(self, surface: Surface) -> PointScatterer:
        return self.together([self], surface)

    @classmethod
    def together(cls, parts: Sequence[Self], surface: Surface) -> PointScatterer:
        """One scatterer of several impurities, with one Green function on the orbitals of all.

        Args:
            parts: point impurities.
            surface: that they are on.

        Raises:
            JaxkinError: an orbital that the model does not have or that is named twice, cells that do not fit it.
        """
        model = surface.model
        sites = [(part, located_site(site, model)) for part in parts for site in part.sites]
        dressed = any(part.order == "tmatrix" for part in parts)
        everywhere, rtol = tuple(site for _, site in sites), min(part.rtol for part in parts)
        return PointScatterer(
            everywhere,
            tuple(placed(model, site) for site in everywhere),
            tuple(part.density / len(part.sites) for part, _ in sites),
            model.state_volume,
            local_green(surface, everywhere, rtol) if dressed else None,
            tuple(part.order for part, _ in sites),
            rtol,
        )


class LocalGreen(eqx.Module):
    """Green functions on the sites of impurities.

    Attributes:
        levels: (E,) energies in eV.
        single: Re G at them on each site, (E, m, m) in 1/eV.
        pairs: ∫(dk) G X G from site to site, see :data:`jaxkin.disorder.two_impurities.Pairs`, (E, m_i², m_j²); None
            where one impurity is all that matters.
    """

    levels: AnyArray
    single: tuple[AnyArray, ...]
    pairs: tuple[tuple[AnyArray, ...], ...] | None = None

    def at(self, level: AnyArray) -> LocalGreen:
        """At the nearest of its energies."""
        if len(self.levels) == 1:
            return self
        nearest = namespace(self.levels, level).argmin(abs(self.levels - level))
        return jax.tree.map(lambda x: x[nearest][None], self)


class PointScatterer(Scatterer):
    """Point impurities on a surface.

    Attributes:
        sites: their places, equivalent or not.
        centres: R_m + τ_m of each one's orbitals, (m, 3) in Å.
        densities: of each, Å^-d.
        volume: in which |u⟩ is normalised, Å^d.
        green: what a T-matrix needs; or None.
        orders: of each one's kernels in V.
        rtol: accuracy of G.
    """

    sites: tuple[Site, ...]
    centres: tuple[AnyArray, ...]
    densities: tuple[Number, ...]
    volume: Number
    green: LocalGreen | None
    orders: tuple[Order, ...] = eqx.field(static=True)
    rtol: float = eqx.field(static=True)
    bloch: ClassVar[bool] = True  # pyright: ignore[reportIncompatibleMethodOverride]
    pairs: ClassVar[bool] = False  # pyright: ignore[reportIncompatibleMethodOverride]

    @property
    def orbitals(self) -> tuple[int, ...]:
        return tuple(sorted({orbital for site in self.sites for orbital in site.orbitals}))

    def completed(self, surface: Surface) -> PointScatterer:
        if self.green is None:
            return self
        pairs = surface_pair_green(surface, *located_orbitals(self.sites), self.rtol)
        return replace(self, green=replace(self.green, pairs=tuple(map(tuple, pairs))))

    def at(self, level: AnyArray) -> PointScatterer:
        return self if self.green is None else replace(self, green=self.green.at(level))

    def __call__(self, states: States) -> Collisions:
        parts = [self._site(states, number) for number in range(len(self.sites))]
        return parts[0] if len(parts) == 1 else SummedCollisions(states, parts)

    def side_jump_of(self, states: States) -> Array:
        return self(states).side_jump_velocity

    @property
    def weak(self) -> bool:
        return self.green is None

    def two_impurities(self, states: States) -> TwoImpurities | None:
        if states.reduced is None:
            return None
        kinds, pairs = [], None
        for number, (site, centres) in enumerate(zip(self.sites, self.centres, strict=True)):
            phase, local = phases(states, centres), local_states(states, site.orbitals, centres)[0]
            terms = scattering_terms(self.orders[number], *self._potentials(number), density_matrix(states, local))
            kinds.append(Kind(Amplitude(self.densities[number], terms.amplitude), site.orbitals, phase))
        if self.green is not None:
            assert self.green.pairs is not None
            pairs = [[block[0] for block in row] for row in self.green.pairs]
        return TwoImpurities(states, kinds, pairs)

    def _potentials(self, number: int) -> tuple[Array, Array]:
        """V and K = (1 − V Re G)⁻¹V of a site, in eV Å^d."""
        potential = jnp.asarray(self.sites[number].potential)
        bare = self.volume * potential
        if self.green is None or self.orders[number] != "tmatrix":
            return bare, bare
        # G stands for 𝒱 ∫(dk), so that VG is a number
        dressed = solve_alone(jnp.eye(len(bare)) - potential @ self.green.single[number][0], bare)
        return bare, hermitian(dressed)

    def _site(self, states: States, number: int) -> Collisions:
        order, density = self.orders[number], self.densities[number]
        local, derivative = local_states(states, self.sites[number].orbitals, self.centres[number])
        bare, reaction = self._potentials(number)
        terms = scattering_terms(order, bare, reaction, density_matrix(states, local))
        return FactorisedCollisions(states, local, derivative, terms, density)


def local_green(surface: Surface, sites: Sequence[Site], rtol: float) -> LocalGreen:
    """Re G at the energies of all shells."""
    found = surface_green_function(surface, *located_orbitals(sites), rtol)
    return LocalGreen(surface.levels, tuple(0.5 * (g + g.conj().swapaxes(1, 2)) for g in found))


def located_orbitals(sites: Sequence[Site]) -> tuple[Located, Groups]:
    """All (orbital, cell) that sites act on, each once, and which of them each site does."""
    number = {orbital: n for n, orbital in enumerate(dict.fromkeys(o for site in sites for o in _located(site)))}
    return tuple(number), tuple(tuple(number[orbital] for orbital in _located(site)) for site in sites)


def placed(model: BlochModel, site: Site) -> AnyArray:
    """R_m + τ_m of a site's orbitals, Cartesian, (m, 3) in Å."""
    centres = jnp.asarray(model.centres)[np.array(site.orbitals)]
    return centres + np.array(site.cells) @ model.lattice if isinstance(model, TightBinding) else centres


def _located(site: Site) -> list[tuple[int, tuple[int, ...]]]:
    """(orbital, cell) of each orbital."""
    return list(zip(site.orbitals, site.cells, strict=True))


def phases(states: States, centres: AnyArray) -> Array:
    """e^{ik·(R_m+τ_m)}, (M, m)."""
    return jnp.exp(1j * (jnp.asarray(states.k) @ jnp.asarray(centres).T))


def local_states(states: States, orbitals: Sequence[int], centres: AnyArray) -> tuple[Array, Array]:
    """⟨m|p⟩ = e^{ik·(R_m+τ_m)} u_m (M, m) and ⟨m|D p⟩ = e^{ik·(R_m+τ_m)} (D + i(R_m+τ_m)) u_m (M, 3, m) in Å.

    A derivative that is not along k leaves the phase as it is.
    """
    assert states.bloch is not None
    u, du = (jnp.asarray(part)[..., np.array(orbitals)] for part in states.bloch)
    phase = phases(states, centres)
    local = phase * u
    if not states.along_k:
        return local, phase[:, None, :] * du
    return local, phase[:, None, :] * du + 1j * jnp.asarray(centres).T * local[:, None, :]


def _site(potential: ArrayLike, orbitals: np.ndarray, cells: ArrayLike | None) -> Site:
    if orbitals.ndim != 1 or not len(orbitals):
        raise JaxkinError(f"orbitals={shown(orbitals)}: a site needs a list of one orbital index or more.")
    chosen = tuple(orbitals.tolist())
    traced, square = is_traced(potential), "a number or a Hermitian matrix in eV without NaN"
    v = jnp.asarray(potential, complex) if traced else numbers("potential", potential, square, complex)
    matrix = v * np.eye(len(chosen)) if v.ndim == 0 else v
    if matrix.shape != (len(chosen), len(chosen)):
        raise JaxkinError(f"potential has shape {v.shape}; on {len(chosen)} orbitals it must be a number or square.")
    if not traced and (not np.all(np.isfinite(matrix)) or not np.allclose(matrix, matrix.conj().T)):
        raise JaxkinError("potential must be a Hermitian matrix in eV without NaN.")
    rows = "one row of integers for each orbital"
    where = np.zeros((len(chosen), 0), int) if cells is None else numbers("cells", cells, rows, int)
    if where.ndim != 2 or len(where) != len(chosen):
        raise JaxkinError(f"cells={shown(cells)} must be {rows}.")
    return Site(matrix, chosen, _integers(where))


def _integers(rows: ArrayLike) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(map(int, row)) for row in np.asarray(rows))


def located_site(site: Site, model: BlochModel) -> Site:
    """The site with a cell of the model's dimension for each orbital.

    Raises:
        JaxkinError: an orbital that the model does not have, one named twice, cells that do not fit the model.
    """
    wrong = [m for m in site.orbitals if not 0 <= m < model.size]
    if wrong:
        raise JaxkinError(f"orbital {wrong[0]} of the impurity is outside 0..{model.size - 1} of this model.")
    located = _located(site)
    if len(set(located)) < len(located):
        raise JaxkinError(f"the impurity's orbitals {list(site.orbitals)} name one twice.")
    d, given = model.dimension, len(site.cells[0])
    if not given:
        return replace(site, cells=((0,) * d,) * len(site.orbitals))
    if not isinstance(model, TightBinding):
        raise JaxkinError("a k·p model has no cells; leave `cells` out.")
    if given < d or any(any(cell[d:]) for cell in site.cells):
        raise JaxkinError(f"cells need {d} integers for each orbital of the impurity.")
    return replace(site, cells=tuple(cell[:d] for cell in site.cells))
