"""Local Green functions on a quadrature that was decided, as a function of the model and the energy."""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.tiles import SMALLEST_BUCKET, scanned, tile_rows
from jaxkin.namespace import AnyArray
from jaxkin.surface.continuation import continued
from jaxkin.surface.contour import Points, Resolved, ZoneIntegral, kernel
from jaxkin.surface.folding import Places
from jaxkin.surface.green import local_green_functions
from jaxkin.surface.surface import Surface
from jaxkin.surface.zone import Integral, nodes

Located = tuple[tuple[int, tuple[int, ...]], ...]
"""Orbitals, each with its cell."""
Groups = tuple[tuple[int, ...], ...]
"""Orbitals that one impurity acts on, as positions in a list of all."""
MATRICES = 16
"""Complex (n, n) matrices that a node's resolvent and its derivatives take."""


class RuleNodes(eqx.Module):
    """Nodes κ = k + ih of one integral, leaves (tiles, rows, ...), the last filled up with nodes of no weight.

    Attributes:
        k: model coordinates, real or displaced.
        weight: of the rule, with the displacement's Jacobian.
        levels: which of the energies it serves.
        width: of the kernel that stands for a displacement, or zero.
    """

    k: Complex[Array | np.ndarray, "tiles rows d"]
    weight: Complex[Array | np.ndarray, "tiles rows"]
    levels: tuple[int, ...] = eqx.field(static=True)
    width: float = eqx.field(static=True)

    @property
    def shifts(self) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients and shifts of the energy that stand for +i0."""
        return kernel(self.width)


class GreenRule(eqx.Module):
    """:func:`local_green_functions` with the displacement, the tree of cells and the nodes on it kept.

    G_mm'(ε) = 𝒱 Σ_j W_j e^{iκ_j·(R_m−R_m')} ⟨m|(ε − H̃(κ_j))⁻¹|m'⟩: the integrand is analytic where the nodes are,
    so that nothing has to be found again when the model or ε changes a little.
    """

    parts: tuple[RuleNodes, ...]
    orbitals: tuple[int, ...] = eqx.field(static=True)
    cells: Int[np.ndarray, "m d"] = eqx.field(converter=np.asarray)
    groups: Groups = eqx.field(static=True)

    def __call__(self, model: BlochModel, energies: Float[Array, " E"]) -> list[Complex[Array, "E m m"]]:
        """Both parts of G in 1/eV on each group of orbitals, at energies that belong to those it was made for."""
        total = jnp.zeros((len(energies), len(self.orbitals), len(self.orbitals)), complex)
        for part in self.parts:
            chosen = np.array(part.levels)
            total = total.at[chosen].set(self._sum(model, part, energies[chosen]))
        return within(model.measure * model.state_volume * total, self.groups)

    def _sum(self, model: BlochModel, part: RuleNodes, energies: Array) -> Array:
        shifts, orbitals = list(zip(*part.shifts, strict=True)), np.array(self.orbitals)

        def one(k: Array, weight: Array) -> Array:
            h = continued(model, k)
            phase = jnp.exp(2j * jnp.pi * (self.cells @ k))

            def at(energy: Array) -> Array:
                poles = [c * resolvent((energy + shift) * jnp.eye(len(h)) - h) for c, shift in shifts]
                return jnp.sum(jnp.stack(poles), axis=0)[orbitals[:, None], orbitals]

            return weight * phase[:, None] / phase * jax.vmap(at)(energies)

        @jax.checkpoint
        def tile(k: Array, weight: Array) -> Array:
            return jnp.sum(jax.vmap(one)(k, weight), axis=0)

        return scanned(tile, (jnp.asarray(part.k), jnp.asarray(part.weight)))


def rule_nodes(green: ZoneIntegral | Integral, energies: np.ndarray, count: int | None = None) -> tuple[RuleNodes, ...]:
    """The nodes by which ``green`` was integrated, or ``count`` in each direction on the same cells.

    Args:
        green: from :func:`local_green_functions` or like it at the ``energies``, and maybe others.
        energies: (E,) in eV, those that are needed.
        count: Gauss-Legendre nodes.
    """
    parts, nearest = [], np.full((len(energies), len(green.rules)), np.inf)
    for number, (points, _) in enumerate(green.rules):
        nearest[:, number] = np.abs(energies[:, None] - np.real(points.integrand.levels)).min(axis=1)
    owner = np.argmin(nearest, axis=1)
    for number, (points, tree) in enumerate(green.rules):
        levels = np.flatnonzero(owner == number)
        if not len(levels):
            continue
        x, weight = nodes(tree, count)
        recorded = Points(points.model, _Recorder(), points.deformation, points.width)(x)[:, 0]
        rows = min(tile_rows(points.model, MATRICES * len(levels)), max(SMALLEST_BUCKET, len(x)))
        fill = -len(x) % rows
        k = np.pad(recorded[:, :-1], ((0, fill), (0, 0)), mode="edge")
        weight = np.pad(weight * recorded[:, -1], (0, fill))
        width = 0.0 if points.deformation is not None else points.width
        k, weight = k.reshape(-1, rows, k.shape[1]), weight.reshape(-1, rows)
        parts.append(RuleNodes(k, weight, tuple(levels.tolist()), width))
    return tuple(parts)


def surface_green_function(surface: Surface, orbitals: Located, groups: Groups, rtol: float) -> Sequence[AnyArray]:
    """G in 1/eV on each of the groups of ``orbitals`` at the energies of all shells, (E, m, m).

    The quadrature is decided where the surface was sampled, once, as V does not enter; of a surface elsewhere it is
    summed again.
    """
    source = surface.sampled
    kept, key = source.costly.value, (orbitals, groups, rtol)
    if key not in kept:
        places = [Places(*parted([orbitals[place] for place in group])) for group in groups]
        with jax.ensure_compile_time_eval():  # nothing of this is traced
            levels = np.asarray(source.levels)  # also other processes': it is adaptive, and all are to find the same
            pockets = source.pockets if len(levels) == 1 else None  # of many levels each has its own
            found = local_green_functions(source.model, levels, places, rtol=rtol, pockets=pockets)
        kept[key] = found, blocks(found.values, groups)
    found, known = kept[key]
    if not surface.elsewhere:
        return known
    if (key, "rule") not in kept:
        with jax.ensure_compile_time_eval():
            kept[key, "rule"] = GreenRule(rule_nodes(found, np.asarray(source.levels)), *parted(orbitals), groups)
    return _summed(kept[key, "rule"], surface.model, jnp.asarray(surface.levels))


def parted(orbitals: Sequence[tuple[int, tuple[int, ...]]]) -> tuple[tuple[int, ...], np.ndarray]:
    """Orbitals and their cells, (m, d)."""
    numbers, cells = zip(*orbitals, strict=True)
    return numbers, np.array(cells)


def within(green: AnyArray, groups: Groups) -> list[AnyArray]:
    """(E, m, m) of each group from those on all orbitals."""
    return [green[:, np.array(group)[:, None], np.array(group)] for group in groups]


def blocks(values: AnyArray, groups: Groups) -> list[AnyArray]:
    """(E, m, m) of each group from (E, Σ m²)."""
    ends = np.cumsum([len(group) ** 2 for group in groups])[:-1]
    parts = np.split(values, ends, axis=1)
    return [part.reshape(-1, len(group), len(group)) for part, group in zip(parts, groups, strict=True)]


@eqx.filter_jit
def _summed(rule: GreenRule, model: BlochModel, energies: Array) -> list[Array]:
    return rule(model, energies)


class _Recorder:
    """An integrand that is the displaced k and the Jacobian themselves."""

    levels, strip, folding = np.zeros(1), np.inf, None

    def __call__(self, resolved: Resolved, width: float, jacobian: np.ndarray) -> np.ndarray:
        del width
        return np.concatenate([resolved.k + 0j, jacobian[:, None]], axis=1)[:, None]

    def at(self, levels: np.ndarray) -> _Recorder:
        del levels
        return self


@jax.custom_jvp
def resolvent(matrix: Complex[Array, "n n"]) -> Complex[Array, "n n"]:
    """The inverse; d(M⁻¹) = −M⁻¹ dM M⁻¹."""
    if len(matrix) == 1:
        return 1 / matrix
    if len(matrix) == 2:
        a, b, c, d = matrix.ravel()
        return jnp.array([[d, -b], [-c, a]]) / (a * d - b * c)
    return jax.lax.platform_dependent(matrix, cpu=_one_by_one, default=jnp.linalg.inv)


@jax.custom_batching.sequential_vmap
def _one_by_one(matrix: Complex[Array, "n n"]) -> Complex[Array, "n n"]:
    """Two batches of LAPACK calls in one compiled function can wait for each other's threads for ever."""
    return jnp.linalg.inv(matrix)


@resolvent.defjvp
def _differential(primals, tangents):
    inverse = resolvent(primals[0])
    return inverse, -inverse @ tangents[0] @ inverse
