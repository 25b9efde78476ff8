"""Impurities that act on a few orbitals: one site, or a cluster of cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, Self

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex
from numpy.typing import ArrayLike

from jaxkin.disorder.amplitude import Order, check_density, check_order, golden_rule, scattering_terms
from jaxkin.disorder.collisions import Collisions, SummedCollisions, TiledCollisions
from jaxkin.disorder.factorised import FactorisedCollisions
from jaxkin.disorder.kernels import Disorder, Scatterer
from jaxkin.disorder.onshell import on_shell_collisions, padded_size
from jaxkin.disorder.orbital_kernels import OrbitalJump, OrbitalKernel
from jaxkin.disorder.states import States
from jaxkin.errors import JaxkinError
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.tight_binding import TightBinding
from jaxkin.namespace import Number, is_traced, namespace
from jaxkin.surface.sea import local_green_function
from jaxkin.surface.shells import Surface
from jaxkin.surface.traced import TracedSurface
from jaxkin.symmetry.representation import partners

Evaluation = Literal["auto", "factorised", "pairwise", "on-shell"]
EVALUATIONS = ("auto", "factorised", "pairwise", "on-shell")


class Site(eqx.Module):
    """A local potential ⟨m|V|m'⟩ in eV on orbitals m, each in a cell (integers, (m, d))."""

    potential: Complex[Array | np.ndarray, "m m"]
    orbitals: tuple[int, ...] = eqx.field(static=True)
    cells: tuple[tuple[int, ...], ...] = eqx.field(static=True)


GreenFunction = Callable[[Any, Site], Any]
"""(ε, site) → Re G, (m, m); of JAX arrays on a frozen surface."""


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
        evaluation: ``"auto"``, ``"factorised"`` (O(N d²)), ``"pairwise"`` (tiles) or ``"on-shell"``
            (N×N matrices); all give the same.
        rtol: accuracy of Re G, relative; what is missed is a warning.

    Raises:
        JaxkinError: a potential that is not Hermitian or of the wrong size, a density that is not
            positive, an orbital the model does not have (when it meets the model).

    >>> import jaxkin as jk
    >>> model = jk.models.get("kramers-weyl-d4")
    >>> impurity = jk.PointImpurity(2.0, orbitals=[0, 1], density=0.01)
    >>> surface = jk.fermi_surface(model, -1.2, sampler=jk.Lines(n=8), replicas=2)
    >>> impurity.collisions(surface, surface.shells[0]).optical_theorem < 1e-11
    True
    """

    sites: tuple[Site, ...]
    density: Number
    order: Order = eqx.field(static=True)
    evaluation: Evaluation = eqx.field(static=True)
    rtol: float = eqx.field(static=True)

    def __init__(
        self,
        potential: ArrayLike,
        orbitals: Sequence[int] | Sequence[Sequence[int]],
        density: Number,
        *,
        order: Order = "tmatrix",
        cells: ArrayLike | None = None,
        evaluation: Evaluation = "auto",
        rtol: float = 3e-3,
    ):
        check_order(order)
        if evaluation not in EVALUATIONS:
            raise JaxkinError(f"evaluation={evaluation!r} is unknown; choose one of {', '.join(EVALUATIONS)}.")
        check_density(density)
        groups = [orbitals] if np.ndim(orbitals[0]) == 0 else orbitals
        self.sites = tuple(_site(potential, group, cells) for group in groups)  # pyright: ignore[reportArgumentType]
        self.density = density if is_traced(density) else float(density)
        self.order, self.evaluation, self.rtol = order, evaluation, rtol

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

    def on(self, surface: Surface) -> Scatterer:
        return self.together([self], surface)[0]

    @classmethod
    def together(cls, parts: Sequence[Self], surface: Surface) -> list[Scatterer]:
        """The scatterers of several impurities, with one Green function on the orbitals of all."""
        sites = [[located_site(site, surface.model) for site in part.sites] for part in parts]
        dressed = [(part, own) for part, own in zip(parts, sites, strict=True) if part.order == "tmatrix"]
        green = None
        if dressed:
            everywhere = [site for _, own in dressed for site in own]
            green = green_functions(surface, everywhere, min(part.rtol for part, _ in dressed))
        return [
            part._scatterer(own, green if part.order == "tmatrix" else None)
            for part, own in zip(parts, sites, strict=True)
        ]

    def _scatterer(self, sites: list[Site], green: GreenFunction | None) -> Scatterer:
        def scatterer(states: States) -> Collisions:
            parts = []
            for site in sites:
                dressing = None if green is None else green(states.energy, site)
                parts.append(self._site_collisions(states, site, dressing))
            return parts[0] if len(parts) == 1 else SummedCollisions(states, parts)

        return scatterer

    def _site_collisions(self, states: States, site: Site, green: np.ndarray | None) -> Collisions:
        xp = namespace(states.weights)
        potential, volume = xp.asarray(site.potential), xp.asarray(states.model.state_volume)
        local, derivative = local_states(states, site.orbitals, site.cells)
        rho = jnp.asarray(xp.einsum("i,im,in->mn", states.weights, local, local.conj(), optimize=True))
        bare = volume * potential
        # G stands for 𝒱 ∫(dk), so that VG is a number
        dressed = bare if green is None else xp.linalg.solve(xp.eye(len(bare)) - potential @ green, bare)
        reaction = jnp.asarray(0.5 * (dressed + dressed.conj().T))
        density = self.density / len(self.sites)
        evaluation = "factorised" if xp is jnp else self._evaluation(len(states), len(site.orbitals))
        if evaluation == "on-shell":
            fill = (0, padded_size(len(states)) - len(states))
            left = jnp.asarray(np.pad(local.conj(), (fill, (0, 0))))
            moved = jnp.asarray(np.pad(derivative.conj(), (fill, (0, 0), (0, 0))))
            v, k = (left @ jnp.asarray(m) @ left.conj().T for m in (bare, reaction))
            outer = jnp.asarray(bare) if green is None else reaction
            slope = jnp.einsum("iam,mn,jn->aij", moved, outer, left.conj())
            return on_shell_collisions(states, self.order, v, k, slope, density)
        terms = scattering_terms(self.order, jnp.asarray(bare), reaction, rho)
        if evaluation == "factorised":
            return FactorisedCollisions(states, local, derivative, terms, density)
        return TiledCollisions(
            states,
            (jnp.asarray(local), jnp.asarray(derivative)),
            OrbitalKernel(terms.symmetric, golden_rule(density)),
            OrbitalKernel(terms.antisymmetric, golden_rule(density)) if terms.antisymmetric else None,
            OrbitalJump(terms.amplitude, golden_rule(density)),
        )

    def _evaluation(self, points: int, d: int) -> str:
        if self.evaluation != "auto":
            return self.evaluation
        return "factorised" if d * d <= 2 * points else "pairwise"


def green_functions(surface: Surface, sites: list[Site], rtol: float) -> GreenFunction:
    """Re G in 1/eV on each of the sites, at the energies of all shells; kept with the surface, as V does not enter."""
    number = {orbital: n for n, orbital in enumerate(dict.fromkeys(o for site in sites for o in _located(site)))}
    orbitals, cells = zip(*number, strict=True)
    key = ("green function", tuple(number), rtol)
    if isinstance(surface, TracedSurface):
        energies, values = surface.levels, surface.green_function(key)
    else:
        energies = surface.levels  # also other processes': the integral is adaptive, and all are to find the same
        if key not in surface.kept:
            surface.kept[key] = local_green_function(surface.model, energies, orbitals, np.array(cells), rtol=rtol)
        values = surface.kept[key].values
    xp = namespace(values)

    def block(energy, site: Site):
        chosen = np.array([number[orbital] for orbital in _located(site)])
        g = values[xp.argmin(xp.abs(energies - energy))][chosen[:, None], chosen]
        return 0.5 * (g + g.conj().T)

    return block


def _located(site: Site) -> list[tuple[int, tuple[int, ...]]]:
    """(orbital, cell) of each orbital."""
    return list(zip(site.orbitals, site.cells, strict=True))


def local_states(states: States, orbitals: Sequence[int], cells: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """⟨m|p⟩ = e^{ik·(R_m+τ_m)} u_m (N, m) and ⟨m|D p⟩ = e^{ik·(R_m+τ_m)} (D + i(R_m+τ_m)) u_m (N, 3, m) in Å."""
    u, du = states.bloch
    xp, model, chosen = namespace(states.weights), states.model, np.asarray(orbitals)
    centres = xp.asarray(model.centres)[chosen]
    if isinstance(model, TightBinding):
        centres = centres + np.asarray(cells) @ xp.asarray(model.lattice)
    phase = xp.exp(1j * states.k @ centres.T)
    local = phase * u[:, chosen]
    return local, phase[:, None, :] * du[:, :, chosen] + 1j * centres.T * local[:, None, :]


def _site(potential: ArrayLike, orbitals: Sequence[int], cells: ArrayLike | None) -> Site:
    chosen = tuple(int(m) for m in orbitals)
    traced = is_traced(potential)
    v = jnp.asarray(potential, complex) if traced else np.asarray(potential, complex)
    matrix = v * np.eye(len(chosen)) if v.ndim == 0 else v
    if matrix.shape != (len(chosen), len(chosen)):
        raise JaxkinError(f"potential has shape {v.shape}; on {len(chosen)} orbitals it must be a number or square.")
    if not traced and (not np.all(np.isfinite(matrix)) or not np.allclose(matrix, matrix.conj().T)):
        raise JaxkinError("potential must be a Hermitian matrix in eV without NaN.")
    where = np.zeros((len(chosen), 0), int) if cells is None else np.asarray(cells, int).reshape(len(chosen), -1)
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
