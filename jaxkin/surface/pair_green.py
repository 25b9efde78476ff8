"""Two Green functions of one energy between the orbitals of impurities: G X G over the zone."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from jaxkin.errors import AccuracyWarning
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.linear import solve
from jaxkin.hamiltonian.tiles import scanned
from jaxkin.namespace import AnyArray, is_traced
from jaxkin.surface.continuation import continued
from jaxkin.surface.green_rule import Groups, Located, RuleNodes, parted, rule_nodes, surface_green_function, within
from jaxkin.surface.surface import Surface

COUNT = {1: 11, 2: 7, 3: 3}
"""Nodes in a direction of a cell, by dimension: two thirds or half of those that G takes.

In 3D an eighth of them in all: 4e-3 off for tellurium's 24 orbitals at rtol = 3e-3, where 4 are 1e-3 off and take twice
the time."""
ENOUGH = 0.05
"""Relative error of G by these nodes that is worth a warning."""


class PairRule(eqx.Module):
    """F_{(m n),(m' n')} = ∫(dk) G_mm' G_n'n with m, n in one group of orbitals and m', n' in another, at decided nodes.

    G_mm'(k) = e^{ik·(R_m−R_m')} ⟨m|(ε + i0 − H)⁻¹|m'⟩. Double poles are no harder than single ones where k is displaced
    into the complex. The sums over nodes are matrix products.
    """

    parts: tuple[RuleNodes, ...]
    orbitals: tuple[int, ...] = eqx.field(static=True)
    cells: Int[np.ndarray, "m d"] = eqx.field(converter=np.asarray)
    groups: Groups = eqx.field(static=True)

    def __call__(self, model: BlochModel, energies: Float[AnyArray, " E"]) -> tuple[list, Complex[Array, "E m m"]]:
        """F (E, a², b²) from group to group in 1/(eV² Å^d), and 𝒱∫(dk) G by the same nodes in 1/eV."""
        m, e = len(self.orbitals), len(energies)
        pairs = [[jnp.zeros((e, len(a) ** 2, len(b) ** 2), complex) for b in self.groups] for a in self.groups]
        total = (pairs, jnp.zeros((e, m, m), complex))
        for part in self.parts:
            chosen = np.array(part.levels)
            found = self._sum(model, part, jnp.asarray(energies)[chosen])
            total = jax.tree.map(lambda whole, x, at=chosen: whole.at[at].set(x), total, found)
        pairs, green = jax.tree.map(lambda x: model.measure * x, total)
        return pairs, model.state_volume * green

    def _sum(self, model: BlochModel, part: RuleNodes, energies: Array) -> tuple:
        if not is_traced(model, energies):
            found = None
            for k, weight in zip(part.k, part.weight, strict=True):
                one = _tile(self, model, part.shifts, energies, k, weight)
                found = one if found is None else jax.tree.map(jnp.add, found, one)
            assert found is not None
            return found
        tile = jax.checkpoint(lambda *nodes: _tile(self, model, part.shifts, energies, *nodes))
        return scanned(tile, (jnp.asarray(part.k), jnp.asarray(part.weight)))


@eqx.filter_jit
def _tile(
    rule: PairRule,
    model: BlochModel,
    shifts: tuple[np.ndarray, np.ndarray],
    energies: Array,
    k: Complex[Array, "N d"],
    weight: Complex[Array, " N"],
) -> tuple[list, Array]:
    coefficients, displaced = shifts
    columns = jnp.eye(model.size, dtype=complex)[:, np.array(rule.orbitals)]

    def one(k: Array) -> Array:
        h = continued(model, k)
        phase = jnp.exp(2j * jnp.pi * (rule.cells @ k))

        def at(energy: Array) -> Array:
            return solve(energy * jnp.eye(len(h)) - h, columns)[np.array(rule.orbitals)]

        return phase[:, None] / phase * jax.vmap(jax.vmap(at))(energies[:, None] + displaced)

    green = jnp.moveaxis(jax.vmap(one)(k), 1, 0)  # (E, N, shift, m, m)
    weighted = (weight[:, None] * coefficients)[None, :, :, None, None] * green
    flat, scaled = (x.reshape(len(energies), -1, *x.shape[3:]) for x in (green, weighted))
    pairs = [[_product(flat, scaled, np.array(a), np.array(b)) for b in rule.groups] for a in rule.groups]
    return pairs, jnp.sum(scaled, axis=1)


def _product(green: Array, weighted: Array, a: np.ndarray, b: np.ndarray) -> Array:
    """Σ_N w G_mm' G_n'n as (E, (m n), (m' n'))."""
    there, back = green[:, :, a[:, None], b], weighted[:, :, b[:, None], a]
    both = jnp.swapaxes(there.reshape(*there.shape[:2], -1), 1, 2) @ back.reshape(*back.shape[:2], -1)
    both = both.reshape(-1, len(a), len(b), len(b), len(a))  # m m' n' n
    return jnp.transpose(both, (0, 1, 4, 2, 3)).reshape(-1, len(a) ** 2, len(b) ** 2)


def surface_pair_green(
    surface: Surface, orbitals: Located, groups: Groups, rtol: float
) -> Sequence[Sequence[AnyArray]]:
    """F of :class:`PairRule` at the energies of all shells, (E, a², b²) from group to group.

    On the cells that :func:`surface_green_function` of the same ``orbitals`` and ``rtol`` took.

    Warns:
        AccuracyWarning: these nodes do not give G itself to five per cent.
    """
    source = surface.sampled
    green = surface_green_function(source, orbitals, groups, rtol)
    kept, key = source.costly.value, (orbitals, groups, rtol)
    if (key, "pairs") not in kept:
        with jax.ensure_compile_time_eval():
            levels = np.asarray(source.levels)
            parts = rule_nodes(kept[key][0], levels, COUNT[source.model.dimension])
            rule = PairRule(parts, *parted(orbitals), groups)
            pairs, coarse = jax.tree.map(np.asarray, rule(source.model, levels))
            kept[key, "pairs"] = rule, pairs
            error = max(map(_difference, within(coarse, groups), green))
        if error > ENOUGH:
            warnings.warn(
                f"pairs of Green functions, and so Gaussian skew scattering, are known to {error:.1g} only: "
                "lower the impurity's `rtol`.",
                AccuracyWarning,
                stacklevel=2,
            )
    rule, pairs = kept[key, "pairs"]
    return rule(surface.model, jnp.asarray(surface.levels))[0] if surface.elsewhere else pairs


def _difference(green: np.ndarray, exact: np.ndarray) -> float:
    """Relative to the largest element at each energy, at the worst."""
    error = np.abs(green - exact).max(axis=(1, 2))
    return float(np.max(error / np.abs(exact).max(axis=(1, 2)), initial=0.0))
