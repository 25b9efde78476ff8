"""The table of an impurity that acts on a few orbitals: its strength and density are the parameters.

With M_x = Σ_p W x_p |p⟩⟨p| in the impurity's d orbitals, every kernel's action under one more integral is a trace:
∫∫ x w y δδ = s Σ Re c Tr[X M_y Y† M_x] for w^S and w^A as in :mod:`jaxkin.disorder.amplitude`, s = 2πn/ħ. The M of
velocities and of their products do not depend on the potential; T = (1 − VG)⁻¹V does, and is d×d.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxkin import units
from jaxkin.disorder import PointImpurity, RelaxationTime
from jaxkin.disorder.amplitude import Order, Terms, golden_rule, scattering_terms
from jaxkin.disorder.factorised import displacement, sandwiched
from jaxkin.disorder.orbital_moments import dagger, hermitian
from jaxkin.disorder.point import LocalGreen, PointScatterer, local_states
from jaxkin.disorder.states import ShellStates, States
from jaxkin.disorder.two_impurities import Amplitude, TwoAmplitudes, self_energies
from jaxkin.errors import JaxkinError
from jaxkin.fitting.table import Table, Values, gather, shell_sums
from jaxkin.hamiltonian.linear import solve_alone
from jaxkin.response.observables import LEVI_CIVITA, magnetoelectric
from jaxkin.response.sums import MAGNETON, RelaxedSums, Theory, rotated
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


class PairMoments(NamedTuple):
    """Integrals over one shell that scattering by two impurities needs, from site to site.

    Attributes:
        steps: Σ W x Q X P for x = 1, v_a and v_a v_b as :func:`step`, (S, S, 13, d², d²).
        green: ∫(dk) G X G, (S, S, d², d²); None for real amplitudes.
    """

    steps: Array
    green: Array | None


class ImpurityTable(Table):
    """Parameters ``strength`` (in units of the impurity's potential; eV where that is 1) and ``density`` (Å^-d).

    Attributes:
        sites: moments with leading axes (replicas, energies, sites).
        pairs: the same (replicas, energies) of pairs of sites; None for the paper's theory.
        potential: V of each site in eV, (sites, d, d).
        thermal: (R, E) thermal weight of each shell over its own.
        volume: of the cell in Å^d, 1 for a k·p model.
        given: strength and density of the impurity.
        order: of the kernels in V.
    """

    sites: SiteMoments
    pairs: PairMoments | None
    potential: Complex[Array, "S d d"]
    thermal: Float[Array, "R E"]
    volume: float = eqx.field(static=True)
    given: tuple[float, float] = eqx.field(static=True)
    order: Order = eqx.field(static=True)

    @classmethod
    def of(
        cls,
        surface: Surface,
        disorder: PointImpurity,
        theory: Theory,
        window: tuple[float, float] | None = None,
    ) -> ImpurityTable:
        """Gather it from a surface.

        Raises:
            JaxkinError: a smeared thermal surface, whose shells mix energies; equivalent sites of different size.
        """
        whole = gather(surface, window)
        if len({len(site.orbitals) for site in disorder.sites}) > 1:
            raise JaxkinError(
                "the impurity's sites have different numbers of orbitals; fit one kind of site at a time."
            )
        scatterer = disorder.on(surface)
        sites, d = scatterer.sites, len(scatterer.sites[0].orbitals)
        orbitals = ()
        if theory == "complete":
            scatterer, orbitals = scatterer.completed(surface), scatterer.orbitals
        shell_states, moments, ratios, pairs = ShellStates(surface, True, orbitals), [], [], []
        # its moment and Drude tensors
        sums = shell_sums(surface, RelaxationTime(1.0).on(surface), whole.shells, "paper")
        for row in whole.shells:
            mine, couples = [], []
            for states in map(shell_states.of, row):
                green = None if scatterer.green is None else scatterer.green.at(states.level)
                local = [
                    local_states(states, site.orbitals, centres)
                    for site, centres in zip(sites, scatterer.centres, strict=True)
                ]
                parts = [
                    _moments(states, one, np.zeros((d, d)) if green is None else green.single[n][0])
                    for n, one in enumerate(local)
                ]
                mine.append(SiteMoments(*(jnp.stack(column) for column in zip(*parts, strict=True))))
                if orbitals:
                    couples.append(_pair_moments(states, scatterer, green))
            moments.append(mine)
            pairs.append(couples)
            ratios.append([_thermal_ratio(surface, shell) for shell in row])
        count = max(len(row) for row in ratios)
        return cls(
            whole.energies,
            sums,
            *whole[1:4],
            _stacked(moments, count),
            _stacked(pairs, count) if orbitals else None,
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
        strength, density = jnp.asarray(values["strength"]), jnp.asarray(values["density"])
        scale = golden_rule(1.0) * density / len(self.potential)
        rate, skew, jump, moved, skewed, jumped = (
            scale * jnp.sum(part, axis=2) for part in over_shells(self.potential, self.sites, strength)
        )
        thermal = self.thermal[..., None, None]
        drude = self.sums.currents["drude"]
        squares = jnp.trace(drude, axis1=2, axis2=3)
        present = self.thermal * squares > 0
        tau = jnp.where(present, squares, 1.0) / jnp.where(present, self.thermal * rate, 1.0)
        moments = {
            "intrinsic": jnp.asarray(values["moment_scale"]) * self.sums.moments["intrinsic"],
            "skew": thermal * skew,
            "side_jump": thermal * jump,
        }
        currents = {"drude": drude, "skew": thermal * skewed, "side_jump": thermal * jumped}
        if self.pairs is not None:
            both = partial(_two_impurity_sums, self.order, self.volume, self.potential, strength, density)
            turned, current = jax.vmap(jax.vmap(both))(self.sites, self.pairs)
            moments |= {"nonlocal": thermal * moved, "gaussian_skew": thermal * turned}
            currents["gaussian_skew"] = thermal * current
        return RelaxedSums(tau, moments, currents)


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


def _pair_moments(states: States, scatterer: PointScatterer, green: LocalGreen | None) -> PairMoments:
    two = scatterer.two_impurities(states)
    assert two is not None
    w, v = states.weights[:, None], states.velocity
    x = jnp.asarray(np.concatenate([w, w * v, w * (v[:, :, None] * v[:, None]).reshape(len(v), 9)], axis=1))
    number = range(len(scatterer.sites))
    steps = jnp.stack([jnp.stack([two.step(x, i, j) for j in number]) for i in number])
    pairs = None
    if green is not None and green.pairs is not None:
        pairs = jnp.stack([jnp.stack([block[0] for block in row]) for row in green.pairs])
    return PairMoments(steps, pairs)


def _thermal_ratio(surface: Surface, shell: Shell) -> float:
    """Thermal over own weight of a shell's points."""
    ratio = surface.weight[shell.points] / surface.level_weight[shell.points]
    if np.ptp(ratio) > 1e-9 * np.max(np.abs(ratio)):
        raise JaxkinError("a table of an impurity needs shells of one energy: sample with Lines, or at T = 0.")
    return float(ratio[0])


def _stacked(rows: list[list[Any]], count: int) -> Any:
    """Leading axes (replicas, energies), filled with zeros."""
    empty = jax.tree.map(jnp.zeros_like, next(one for row in rows for one in row))
    full = [row + [empty] * (count - len(row)) for row in rows]
    return jax.tree.map(lambda *parts: jnp.asarray(np.stack(parts).reshape(len(rows), count, *parts[0].shape)),
                        *[one for row in full for one in row])  # fmt: skip


def _terms(order: Order, volume: float, potential: Array, m: SiteMoments, strength: Array) -> Terms:
    v = strength * potential
    bare = volume * v
    dressed = solve_alone(jnp.eye(len(v)) - v @ m.green, bare) if order == "tmatrix" else bare
    return scattering_terms(order, bare, hermitian(dressed), m.states)


def _site_sums(order: Order, volume: float, potential: Array, m: SiteMoments, strength: Array):
    """Σ W v·Lv; Σ W (Q×v)_a v_b, Σ W (v_sj×v)_a v_b, what D has in their place; Σ W v_a Q_b, Σ W v_a v_sj,b.

    Of one site, per s = 2πn/ħ. Of the last but one, what is symmetric in a and b is left out.
    """
    terms = _terms(order, volume, potential, m, strength)
    gain = sandwiched(terms.symmetric, m.velocity)
    loss = sandwiched(terms.symmetric, m.states[None])[0]
    speed = jnp.trace(m.square)
    rate = _trace(loss, speed) - sum(_trace(gain[a], m.velocity[a]) for a in range(3))
    turn = jnp.asarray(LEVI_CIVITA)
    # Q's part along v drops out of Q×v
    skewed = sandwiched(terms.antisymmetric, m.velocity)
    skew = jnp.einsum("acd,cmn,dbnm->ab", turn, skewed, m.square).real
    t = terms.amplitude
    back = dagger(t)
    outer = t @ m.states @ back + back @ m.states @ t
    inner = t @ m.flow @ back - back @ dagger(m.flow) @ t
    inner = (inner - dagger(inner)) / 2j
    jump = jnp.einsum("nm,abmn->ab", outer, m.turned).imag
    jump = jump + jnp.einsum("acd,cmn,dbnm->ab", turn, inner, m.square).real
    # Q's part along v is symmetric in Σ W v_a Q_b, and does not matter
    skewed_current = jnp.einsum("bmn,anm->ab", skewed, m.velocity).real
    jump_current = jnp.einsum("nm,abmn->ab", outer, m.drift).imag + jnp.einsum("bmn,anm->ab", inner, m.velocity).real
    velocities = (m.velocity, dagger(m.drift))
    moved = magnetoelectric(rotated(displacement(t, velocities, velocities)))
    half = -0.5 * units.HBAR
    moments = (MAGNETON * skew, half * MAGNETON * jump, MAGNETON * moved)
    return rate, *moments, skewed_current, half * jump_current


def _two_impurity_sums(
    order: Order, volume: float, potentials: Array, strength: Array, density: Array, m: SiteMoments, pairs: PairMoments
) -> tuple[Array, Array]:
    """Σ W (Q×v)_a v_b and Σ W v_a Q_b of the Q that two impurities make, of all sites together."""
    sites = [jax.tree.map(lambda x, n=n: x[n], m) for n in range(len(potentials))]
    kinds = [
        Amplitude(density / len(sites), _terms(order, volume, v, site, strength).amplitude)
        for v, site in zip(potentials, sites, strict=True)
    ]
    sigma = self_energies(kinds, [site.states for site in sites])
    green = None if pairs.green is None else list(map(list, pairs.green))
    algebra = TwoAmplitudes(kinds, sigma, [[block[0] for block in row] for row in pairs.steps], green)
    rho, mixed = [], []  # Σ W x |p⟩⟨p| and Σ W x |δp⟩⟨p| for x = v_a, and for v_a v_b after these
    for site, row in zip(sites, pairs.steps, strict=True):
        d = site.states.shape[0]
        both = [jnp.einsum("xpq,q->xp", block, s.ravel()) for block, s in zip(row, sigma, strict=True)]
        mixed.append(sum(both, jnp.zeros(()))[1:].reshape(-1, d, d))
        rho.append(jnp.concatenate([site.velocity, site.square.reshape(9, d, d)]))
    values = jnp.zeros((3, 12))
    forms = algebra.forms([x[:3] for x in rho], [x[:3] for x in mixed], 0.5, -0.5)
    for (form, ends), own, other in zip(forms, rho, mixed, strict=True):
        values = values + jnp.real(jnp.einsum("cmn,xnm->cx", form, own) + 2 * jnp.einsum("cmn,xnm->cx", ends, other))
    current, turned = values[:, :3].T, values[:, 3:].reshape(3, 3, 3)
    return MAGNETON * jnp.einsum("acd,cdb->ab", LEVI_CIVITA, turned), current


def _trace(a: Array, b: Array) -> Array:
    return jnp.real(jnp.sum(a * jnp.swapaxes(b, -1, -2)))
