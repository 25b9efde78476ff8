"""The table of an impurity that acts on a few orbitals: its strength and density are the parameters.

With M_x = Σ_p W x_p |p⟩⟨p| in the impurity's d orbitals, every kernel's action under one more integral is a trace:
∫∫ x w y δδ = s Σ Re c Tr[X M_y Y† M_x] for w^S and w^A as in :mod:`jaxkin.disorder.amplitude`, s = 2πn/ħ. The M of
velocities and of their products do not depend on the potential; T = (1 − VG)⁻¹V does, and is d×d.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxkin import units
from jaxkin.disorder import PointImpurity, RelaxationTime
from jaxkin.disorder.amplitude import Order, Term, golden_rule, scattering_terms
from jaxkin.disorder.point import green_functions, local_states, located_site, placed
from jaxkin.disorder.states import ShellStates, States
from jaxkin.errors import JaxkinError
from jaxkin.fitting.table import Table, Values, gather, shell_sums
from jaxkin.response.observables import LEVI_CIVITA
from jaxkin.response.sums import MAGNETON, RelaxedSums
from jaxkin.surface.surface import Shell, Surface


class SiteMoments(NamedTuple):
    """Integrals over one shell in the orbitals of one site; D is the covariant derivative.

    Attributes:
        green: Re G in 1/eV, (d, d).
        states: Σ W |p⟩⟨p|, (d, d).
        velocity: Σ W v_a |p⟩⟨p|, (3, d, d).
        square: Σ W v_a v_b |p⟩⟨p|, (3, 3, d, d).
        flow: Σ W |D_a p⟩⟨p|, (3, d, d).
        drift: Σ W v_a |p⟩⟨D_b p|, (3, 3, d, d).
        turned: ε_acd Σ W v_d v_b |p⟩⟨D_c p|, (3, 3, d, d), indices a, b.
    """

    green: Array
    states: Array
    velocity: Array
    square: Array
    flow: Array
    drift: Array
    turned: Array


class ImpurityTable(Table):
    """Parameters ``strength`` (in units of the impurity's potential; eV where that is 1) and ``density`` (Å^-d).

    Attributes:
        sites: moments with leading axes (replicas, energies, sites).
        potential: V of each site in eV, (sites, d, d).
        thermal: (R, E) thermal weight of each shell over its own.
        volume: of the cell in Å^d, 1 for a k·p model.
        given: strength and density of the impurity.
        order: of the kernels in V.
    """

    sites: SiteMoments
    potential: Complex[Array, "S d d"]
    thermal: Float[Array, "R E"]
    volume: float = eqx.field(static=True)
    given: tuple[float, float] = eqx.field(static=True)
    order: Order = eqx.field(static=True)

    @classmethod
    def of(cls, surface: Surface, disorder: PointImpurity, window: tuple[float, float] | None = None) -> ImpurityTable:
        """Gather it from a surface.

        Raises:
            JaxkinError: a smeared thermal surface, whose shells mix energies; equivalent sites of different size.
        """
        whole = gather(surface, window)
        sites = [located_site(site, surface.model) for site in disorder.sites]
        if len({len(site.orbitals) for site in sites}) > 1:
            raise JaxkinError(
                "the impurity's sites have different numbers of orbitals; fit one kind of site at a time."
            )
        green = green_functions(surface, sites, disorder.rtol) if disorder.order == "tmatrix" else None
        d = len(sites[0].orbitals)
        shell_states, moments, ratios = ShellStates(surface, bloch=True), [], []
        sums = shell_sums(surface, RelaxationTime(1.0).on(surface), whole.shells)  # its moment and Drude tensors
        for row in whole.shells:
            mine = []
            for states in map(shell_states.of, row):
                nearest = np.argmin(np.abs(surface.levels - states.level))
                parts = [
                    _moments(
                        states,
                        local_states(states, site.orbitals, placed(surface.model, site)),
                        np.zeros((d, d)) if green is None else green(site)[nearest],
                    )
                    for site in sites
                ]
                mine.append(SiteMoments(*(jnp.stack(column) for column in zip(*parts, strict=True))))
            moments.append(mine)
            ratios.append([_thermal_ratio(surface, shell) for shell in row])
        count = max(len(row) for row in ratios)
        return cls(
            whole.energies,
            sums,
            *whole[1:4],
            _stacked(moments, count),
            jnp.asarray([site.potential for site in sites]),
            jnp.asarray([row + [0.0] * (count - len(row)) for row in ratios]),
            float(surface.model.state_volume),
            (1.0, float(disorder.density)),
            disorder.order,
        )

    @property
    def disorder_values(self) -> dict[str, float]:
        return dict(zip(("strength", "density"), self.given, strict=True))

    def at(self, values: Values) -> RelaxedSums:
        one = partial(_site_sums, self.order, self.volume)
        over_sites = jax.vmap(one, in_axes=(0, 0, None))
        over_shells = jax.vmap(jax.vmap(over_sites, in_axes=(None, 0, None)), in_axes=(None, 0, None))
        scale = golden_rule(1.0) * jnp.asarray(values["density"]) / len(self.potential)
        rate, skew, jump, skewed, jumped = (
            scale * jnp.sum(part, axis=2)
            for part in over_shells(self.potential, self.sites, jnp.asarray(values["strength"]))
        )
        thermal = self.thermal[..., None, None]
        drude = self.sums.currents["drude"]
        squares = jnp.trace(drude, axis1=2, axis2=3)
        present = self.thermal * squares > 0
        tau = jnp.where(present, squares, 1.0) / jnp.where(present, self.thermal * rate, 1.0)
        return RelaxedSums(
            tau,
            {
                "intrinsic": jnp.asarray(values["moment_scale"]) * self.sums.moments["intrinsic"],
                "skew": thermal * skew,
                "side_jump": thermal * jump,
            },
            {"drude": drude, "skew": thermal * skewed, "side_jump": thermal * jumped},
        )


def _moments(states: States, orbitals: tuple[Array, Array], green: np.ndarray) -> SiteMoments:
    local, derivative = map(np.asarray, orbitals)
    w, v, bra = states.weights, states.velocity, local.conj()

    def outer(values: np.ndarray) -> Array:
        """Σ values |p⟩⟨p|, (..., d, d) for values (N, ...)."""
        flat = np.einsum("im,iq,in->qmn", local, values.reshape(len(w), -1), bra, optimize=True)
        return jnp.asarray(flat.reshape(*values.shape[1:], *flat.shape[1:]))

    products = w[:, None, None] * v[:, :, None] * v[:, None, :]
    return SiteMoments(
        green=jnp.asarray(green),
        states=outer(w),
        velocity=outer(w[:, None] * v),
        square=outer(products),
        flow=jnp.asarray(np.einsum("iam,i,in->amn", derivative, w, bra, optimize=True)),
        drift=jnp.asarray(np.einsum("ia,im,ibn->abmn", w[:, None] * v, local, derivative.conj(), optimize=True)),
        turned=jnp.asarray(
            np.einsum("acd,idb,im,icn->abmn", LEVI_CIVITA, products, local, derivative.conj(), optimize=True)
        ),
    )


def _thermal_ratio(surface: Surface, shell: Shell) -> float:
    """Thermal over own weight of a shell's points."""
    ratio = surface.weight[shell.points] / surface.level_weight[shell.points]
    if np.ptp(ratio) > 1e-9 * np.max(np.abs(ratio)):
        raise JaxkinError("a table of an impurity needs shells of one energy: sample with Lines, or at T = 0.")
    return float(ratio[0])


def _stacked(rows: list[list[SiteMoments]], count: int) -> SiteMoments:
    """Leading axes (replicas, energies), filled with zeros."""
    empty = jax.tree.map(jnp.zeros_like, next(one for row in rows for one in row))
    full = [row + [empty] * (count - len(row)) for row in rows]
    return jax.tree.map(lambda *parts: jnp.asarray(np.stack(parts).reshape(len(rows), count, *parts[0].shape)),
                        *[one for row in full for one in row])  # fmt: skip


def _site_sums(order: Order, volume: float, potential: Array, m: SiteMoments, strength: Array):
    """Σ W v·Lv, Σ W (Q×v)_a v_b, Σ W (v_sj×v)_a v_b, and Σ W v_a Q_b and Σ W v_a v_sj,b, of one site, per s = 2πn/ħ.

    Of the last but one, what is symmetric in a and b is left out.
    """
    v = strength * potential
    bare = volume * v
    dressed = jnp.linalg.solve(jnp.eye(len(v)) - v @ m.green, bare) if order == "tmatrix" else bare
    terms = scattering_terms(order, bare, 0.5 * (dressed + _dagger(dressed)), m.states)
    gain = _sandwiched(terms.symmetric, m.velocity)
    loss = _sandwiched(terms.symmetric, m.states[None])[0]
    speed = jnp.trace(m.square)
    rate = _trace(loss, speed) - sum(_trace(gain[a], m.velocity[a]) for a in range(3))
    turn = jnp.asarray(LEVI_CIVITA)
    # Q's part along v drops out of Q×v
    skewed = _sandwiched(terms.antisymmetric, m.velocity)
    skew = jnp.einsum("acd,cmn,dbnm->ab", turn, skewed, m.square).real
    t = terms.amplitude
    back = _dagger(t)
    outer = t @ m.states @ back + back @ m.states @ t
    inner = t @ m.flow @ back - back @ _dagger(m.flow) @ t
    inner = (inner - _dagger(inner)) / 2j
    jump = jnp.einsum("nm,abmn->ab", outer, m.turned).imag
    jump = jump + jnp.einsum("acd,cmn,dbnm->ab", turn, inner, m.square).real
    # Q's part along v is symmetric in Σ W v_a Q_b, and does not matter
    skewed_current = jnp.einsum("bmn,anm->ab", skewed, m.velocity).real
    jump_current = jnp.einsum("nm,abmn->ab", outer, m.drift).imag + jnp.einsum("bmn,anm->ab", inner, m.velocity).real
    half = -0.5 * units.HBAR
    return rate, MAGNETON * skew, half * MAGNETON * jump, skewed_current, half * jump_current


def _sandwiched(terms: tuple[Term, ...], moments: Complex[Array, "m d d"]) -> Complex[Array, "m d d"]:
    """The Hermitian part of Σ c X M Y†."""
    total = jnp.zeros_like(moments)
    for factor, left, right in terms:
        total = total + factor * (left @ moments @ _dagger(right))
    return 0.5 * (total + _dagger(total))


def _dagger(matrix: Array) -> Array:
    return jnp.conj(jnp.swapaxes(matrix, -1, -2))


def _trace(a: Array, b: Array) -> Array:
    return jnp.real(jnp.sum(a * jnp.swapaxes(b, -1, -2)))
