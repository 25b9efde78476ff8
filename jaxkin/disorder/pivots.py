"""The low rank of a smooth potential: V_ij = ⟨p_i|V|p_j⟩ of all points of a shell from its columns at a few of them.

V ≈ V_{·J} V_JJ⁻¹ V_{J·} with pivots J, chosen once among the points of a level; what is left of a V of one sign is
of that sign, so that it is nowhere larger than on the diagonal. For any other V the pivots come from an interpolative
decomposition, and V_JJ⁻¹ gives way to a least-squares fit on twice as many points, which is stable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex
from scipy.linalg import get_lapack_funcs, interpolative, solve_triangular

from jaxkin.disorder.form_factors import FormFactors
from jaxkin.disorder.orbital_moments import hermitian
from jaxkin.disorder.states import ShellStates
from jaxkin.hamiltonian.tiles import map_over_tiles
from jaxkin.memory import demand
from jaxkin.namespace import AnyArray
from jaxkin.surface.surface import Surface

FIRST = 512
"""Points of a level that pivots are first looked for among; twice as many until they serve ..."""
PROBES = 64
"""... so many others."""
SAFE = 100
"""Roundings of the largest |V_ij| below which nothing is told from zero."""


class Choice(NamedTuple):
    """Points of a level: the pivots, and with others behind them those that the fit is made on."""

    points: np.ndarray
    rank: int


class Pivots(eqx.Module):
    """Pivots and fitted points of all levels, each filled up with states that are zero.

    Attributes:
        k: Cartesian, (E, s, 3) in Å⁻¹.
        u: |u⟩, (E, s, n).
        rank: how many, the first, are pivots.
    """

    k: AnyArray
    u: AnyArray
    rank: int = eqx.field(static=True)

    def at(self, level: AnyArray) -> Pivots:
        """Those of one level, by its number."""
        return Pivots(self.k[level][None], self.u[level][None], self.rank)


class Separable(NamedTuple):
    """V|a⟩q⟨a|V of states a, that stands beside a potential V of strength one.

    Attributes:
        k: Cartesian, (A, 3) in Å⁻¹.
        u: |u⟩, (A, n).
        q: (A, A), Hermitian.
    """

    k: AnyArray
    u: AnyArray
    q: Complex[AnyArray, "A A"]


class Interpolation(eqx.Module):
    """The functions χ_q(k) = ⟨k α|V|q⟩ R⁻¹ of one level's pivots q, with V_SJ = Q R on the fitted points S ⊇ J.

    V_ij ≈ X_i Q† V_SS Q X_j† with X_i = V_iJ R⁻¹, which for S = J is V_iJ V_JJ⁻¹ V_Jj. R only has to make Q a
    well-conditioned basis: it is not differentiated.

    Args:
        factors: the form factors of V.
        members: which of the different positions each orbital is at, (n, s) of zeros and ones.
        pivots: of one level.
        added: what V is to be taken with: all is then of V + V|a⟩q⟨a|V, and the functions are sums over the pivots and
            the a, the sources.
    """

    core: Complex[Array, "r r"]
    _factors: FormFactors
    _members: Array
    _sources: tuple[Array, Array]
    _mixing: Complex[Array, "t r"] | None
    _triangle: Complex[Array, "r r"]

    def __init__(self, factors: FormFactors, members: Array, pivots: Pivots, added: Separable | None = None):
        self._factors, self._members = factors, members
        k, u, rank = jnp.asarray(pivots.k[0]), jnp.asarray(pivots.u[0]), pivots.rank
        self._sources, self._mixing = (k[:rank], u[:rank]), None
        v = potential_matrix(factors, k, u, members)
        if added is not None:
            beside = potential_rows(factors, (k, u), added.k, added.u, members)
            self._sources = jnp.concatenate([k[:rank], added.k]), jnp.concatenate([u[:rank], added.u])
            self._mixing = jnp.concatenate([jnp.eye(rank), added.q @ beside[:rank].conj().T])
            v = hermitian(v + beside @ added.q @ beside.conj().T)
        absent = jnp.sum(jnp.abs(u[:rank]) ** 2, axis=1) == 0
        columns = v[:, :rank].at[jnp.arange(rank), jnp.arange(rank)].add(absent)
        self._triangle = jnp.linalg.qr(jax.lax.stop_gradient(columns), mode="r")
        q = self._divided(columns.conj()).conj()
        inverse = jnp.linalg.solve(q.conj().T @ q, q.conj().T)
        self.core = hermitian(inverse @ v @ inverse.conj().T)

    def __call__(
        self, k: Array, u: Array, du: Array, along_k: bool
    ) -> tuple[Complex[Array, "M r"], Complex[Array, "M 3 r"]]:
        """⟨m|p⟩ and ⟨m|D_a p⟩ of M states; a derivative along k has that of V's phases in it."""

        def rows(k: Array, u: Array, du: Array) -> tuple[Array, Array]:
            values, slopes = potential_slopes(self._factors, (k, u, du), *self._sources, self._members, along_k)
            return self.reduced(values.conj()), self.reduced(slopes.conj())

        return map_over_tiles(rows, self._factors.rows, k, u, du)

    def waves(self, k: Array) -> Complex[Array, "s I t"]:
        """F_s(k − k_q) between a tile of k and the sources, that :meth:`bra` and :meth:`ket` are made of."""
        return self._factors(k, self._sources[0])[0]

    def on_sources(self, forms: Complex[Array, "m r r"]) -> Complex[Array, "m t r"]:
        """R⁻¹F: with it F y is Σ_q of :meth:`bra` on the sources themselves.

        One equation: two batches of LAPACK calls in one compiled function can wait for each other's threads for ever.
        """
        m, r, _ = forms.shape
        columns = jax.scipy.linalg.solve_triangular(self._triangle, forms.swapaxes(0, 1).reshape(r, m * r))
        forms = columns.reshape(r, m, r).swapaxes(0, 1)
        return forms if self._mixing is None else self._mixing @ forms

    def bra(self, waves: Complex[Array, "s I t"], z: Complex[Array, "I m t"]) -> Complex[Array, "I m n"]:
        """Σ_q ⟨k α|V|q⟩ z_q for each orbital α at k."""
        u = self._sources[1]
        parts = ((wave[:, None] * z) @ (u * self._members[:, s]) for s, wave in enumerate(waves))
        return sum(parts, jnp.zeros(()))

    def ket(self, waves: Complex[Array, "s I t"], c: Complex[Array, "I m n"]) -> Complex[Array, "I m t"]:
        """Σ_α ⟨q|V|k α⟩ c_α, the adjoint; :meth:`reduced` makes functions of it."""
        u = self._sources[1]
        parts = (wave.conj()[:, None] * (c @ (u * self._members[:, s]).conj().T) for s, wave in enumerate(waves))
        return sum(parts, jnp.zeros(()))

    def reduced(self, columns: Complex[Array, "... t"]) -> Complex[Array, "... r"]:
        """R⁻†y of y_q = ⟨q|V|·⟩ of the sources: ⟨m|·⟩."""
        return self._divided(columns if self._mixing is None else columns @ self._mixing.conj())

    def _divided(self, columns: Complex[Array, "... r"]) -> Complex[Array, "... r"]:
        """R⁻†y."""
        flat = columns.reshape(-1, columns.shape[-1])
        solved = jax.scipy.linalg.solve_triangular(self._triangle, flat.T, trans=2)
        return solved.T.reshape(columns.shape)


@eqx.filter_jit
def interpolated(
    factors: FormFactors,
    members: Array,
    pivots: Pivots,
    added: Separable | None,
    k: Array,
    bloch: tuple[Array, Array],
    along_k: bool,
) -> tuple[Interpolation, tuple[Complex[Array, "M r"], Complex[Array, "M 3 r"]]]:
    """The functions, and states with |u⟩ and |D_a u⟩ in them; compiled as one where nothing else is."""
    through = Interpolation(factors, members, pivots, added)
    return through, through(k, *bloch, along_k)


def members(group: tuple[int, ...]) -> Array:
    """Which of the different positions each orbital is at, (n, s) of zeros and ones."""
    return jnp.asarray(np.array(group)[:, None] == np.arange(max(group) + 1), float)


def choose_pivots(
    surface: Surface, factors: Sequence[FormFactors], group: tuple[int, ...], rtol: float, most: int
) -> list[Choice] | None:
    """Pivots on a surface for each V: numbers of points (E, s) for all levels, −1 where there is none.

    None where a level needs more than ``most``.
    """
    states, layout = ShellStates(surface, bloch=True), surface.layout
    ranges = [np.arange(a, b) for a, b in pairwise(layout.starts)]
    levels = [
        np.concatenate([np.arange(0), *(r for r, n in zip(ranges, layout.level, strict=True) if n == level)])
        for level in range(len(surface.heights))
    ]

    def values(one: FormFactors, chosen: np.ndarray) -> np.ndarray:
        k, u = states.some(chosen)
        fill = filled_rank(len(k)) - len(k)
        k, u = (np.pad(x, ((0, fill), (0, 0))) for x in (k, u))
        return np.asarray(compiled_potential(one, k, u, members(group)))[: len(chosen), : len(chosen)]

    found = []
    for one in factors:
        choices = []
        for mine in levels:
            choice = choose(lambda chosen, one=one, mine=mine: values(one, mine[chosen]), len(mine), rtol, most)
            if choice is None:
                return None
            choices.append(Choice(mine[choice.points], choice.rank))
        found.append(_together(choices))
    return found


def _together(choices: Sequence[Choice]) -> Choice:
    """Those of all levels, each filled up."""
    rank = filled_rank(max(1, *(one.rank for one in choices)))
    fitted = rank if all(one.rank == len(one.points) for one in choices) else 2 * rank
    rows = np.full((len(choices), fitted), -1)
    for row, one in zip(rows, choices, strict=True):
        row[: one.rank] = one.points[: one.rank]
        row[rank : rank + len(one.points) - one.rank] = one.points[one.rank :]
    return Choice(rows, rank)


def located(surface: Surface, choice: Choice) -> Pivots:
    """The states of what :func:`choose_pivots` found, on that surface evaluated anywhere."""
    k, u = ShellStates(surface, bloch=True).some(np.maximum(choice.points.ravel(), 0))
    shape, present = choice.points.shape, choice.points >= 0
    return Pivots(k.reshape(*shape, 3), u.reshape(*shape, -1) * present[..., None], choice.rank)


def choose(values: Callable[[np.ndarray], np.ndarray], count: int, rtol: float, most: int) -> Choice | None:
    """Pivots among ``count`` points, such that V is missed by at most ``rtol`` max |V|; None if it takes too many.

    Args:
        values: numbers of points (m,) → V between them, (m, m).
        count: of the points.
        rtol: see above; kept up to a factor of two among the points that were looked at, and PROBES others.
        most: pivots that are not too many.
    """
    if not count:  # of a level that other processes' replicas have
        return Choice(np.zeros(0, int), 0)
    order, size = np.random.default_rng(0).permutation(count), FIRST
    while True:
        demand(
            128 * min(size, count) ** 2,
            f"a potential between {min(size, count)} points",
            "raise it, or ask for a larger rtol",
        )
        v = values(order[: size + PROBES])
        size = min(size, count)
        found, others = pivots_of(v[:size, :size], rtol), np.arange(size, len(v))
        if found.rank > most:
            return None
        if size == count or _missed(v, found, others) <= 2 * rtol:
            return Choice(order[found.points], found.rank)
        size *= 2


def potential_matrix(factors: FormFactors, k: AnyArray, u: AnyArray, members: Array) -> Complex[Array, "m m"]:
    """V between m states."""
    return hermitian(potential_rows(factors, (k, u), k, u, members))


compiled_potential = eqx.filter_jit(potential_matrix)


def filled_rank(rank: int) -> int:
    """The number of pivots that ``rank`` of them are filled up to, of which few are different."""
    step = max(8, 1 << (rank - 1).bit_length() >> 3)
    return -(-rank // step) * step


def pivots_of(v: np.ndarray, rtol: float) -> Choice:
    """Of a matrix: by Cholesky's decomposition where that is all of it, else by an interpolative one."""
    scale = np.abs(v).max(initial=0.0)
    if not scale:
        return Choice(np.zeros(0, int), 0)
    tolerance = max(rtol, SAFE * np.finfo(float).eps) * scale
    signed = v if np.trace(v).real > 0 else -v
    (decompose,) = get_lapack_funcs(("pstrf",), (signed,))
    lower, pivot, rank, _ = decompose(signed, tol=tolerance, lower=1)
    order = pivot - 1
    half = np.tril(lower)[:, :rank]
    left = signed[order[:, None], order] - half @ half.conj().T
    if np.abs(left).max() <= 2 * tolerance:
        return Choice(order[:rank], rank)
    every, allowed = np.arange(len(v)), rtol
    while True:  # what is allowed is of the norm of all of V, what is asked for of its elements
        found, index, _ = interpolative.interp_decomp(v, allowed, rand=False)  # pyright: ignore[reportAssignmentType]
        choice = Choice(index[: min(2 * found, len(v))], found)
        if found == len(v) or allowed < np.finfo(float).eps or _missed(v, choice, every) <= 2 * rtol:
            return choice
        allowed /= 4


def _missed(v: np.ndarray, choice: Choice, probes: np.ndarray) -> float:
    """Error of V between other points, relative to its largest element."""
    if not choice.rank:
        return float(np.abs(v).max() > 0)
    fitted, pivots = choice.points, choice.points[: choice.rank]
    q, r = np.linalg.qr(v[fitted[:, None], pivots])
    x = solve_triangular(r, v[probes[:, None], pivots].T, trans=1).T
    core = q.conj().T @ v[fitted[:, None], fitted] @ q
    return float(np.abs(v[probes[:, None], probes] - x @ core @ x.conj().T).max() / np.abs(v).max())


def potential_rows(
    factors: FormFactors, mine: tuple[AnyArray, AnyArray], others: AnyArray, u_others: AnyArray, members: Array
) -> Complex[Array, "I J"]:
    """⟨p|V|q⟩ of states p with (k, |u⟩) and others q."""

    def rows(k: Array, u: Array) -> Array:
        overlap = jnp.einsum("im,ms,jm->sij", u.conj(), members, jnp.asarray(u_others))
        return jnp.sum(factors(k, jnp.asarray(others))[0] * overlap, axis=0)

    return map_over_tiles(rows, factors.rows, *mine)


def potential_slopes(
    factors: FormFactors, mine: tuple[Array, ...], others: Array, u_others: Array, members: Array, along_k: bool
):
    """⟨p|V|q⟩ (I, J) of states p and others q, and ⟨D_a p|V|q⟩, along k with that of V's phases, (I, 3, J)."""
    k, u, du = mine
    f, slopes = factors(k, others)  # (s, I, J), (3, s, I, J)
    overlap = jnp.einsum("im,ms,jm->sij", u.conj(), members, u_others)
    moved = jnp.einsum("iam,ms,jm->asij", du.conj(), members, u_others)
    changed = f * moved + slopes * overlap if along_k else f * moved
    return jnp.sum(f * overlap, axis=0), jnp.swapaxes(jnp.sum(changed, axis=1), 0, 1)
