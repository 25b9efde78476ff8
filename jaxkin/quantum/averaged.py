"""The averaged Green function: grids of k, local sums, and the self-consistent self-energy."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from jaxkin.devices import spread
from jaxkin.geometry import ELECTRON_G
from jaxkin.hamiltonian.tight_binding import TightBinding
from jaxkin.memory import batch_bytes
from jaxkin.quantum.scatterers import Scatterers
from jaxkin.response.observables import LEVI_CIVITA
from jaxkin.units import HBAR2_OVER_2M

ARRAYS = 150
"""Complex (n, n) matrices that exist for one k while the bubble is differentiated, an estimate."""
MOST_ROWS = 2**13
CACHE = 2**20
"""Bytes of one matrix of all k of a tile, that caches hold some of: larger tiles of 18 orbitals take twice the time."""
FEWEST = 24
"""Points along each direction of a grid far from the real axis."""
UNROLLED = 4
"""Largest matrices whose products are written out."""
ITERATIONS = 200
MEMORY = 5
"""Iterates that the next one is made of."""


class Dressed(eqx.Module):
    """G(k, z) = [z − H(k) − P†(k) (S − S₀) P(k)]⁻¹ with P_mα = δ_{α,α_m} exp[ik·(R_m + τ_m)], and its currents.

    Matrices of many k stand side by side, (n, n, K), so that products of small ones are loops over k.

    Args:
        model: H(k), with |u⟩ periodic: positions stand in the phases.
        scatterers: the D located orbitals.
        counterterm: S₀ (D, D), a Hermitian part of the self-energy that H(k) already contains; zeros if it is bare.
    """

    model: TightBinding
    orbitals: Int[np.ndarray, " D"]
    positions: Float[Array, "D d"]
    counterterm: Complex[Array, "D D"]

    def __init__(self, model: TightBinding, scatterers: Scatterers, counterterm: Any):
        self.model, self.orbitals = model, np.asarray(scatterers.orbitals)
        self.positions = jnp.asarray(scatterers.positions)
        self.counterterm = jnp.asarray(counterterm, complex)

    @property
    def places(self) -> Float[Array, "D 3"]:
        """R_m + τ_m in Å."""
        return self.positions @ self.model.lattice

    def local(self, k: Float[Array, "K d"], x: Complex[Array, "... n n K"]) -> Complex[Array, "... D D K"]:
        """P X P† at model coordinates k."""
        return self.phases(k) * x[..., self.orbitals[:, None], self.orbitals, :]

    def inverse(self, k: Float[Array, "K d"], z: Any, s: Complex[Array, "D D"]) -> Complex[Array, "n n K"]:
        """G⁻¹(k, z) in eV."""
        h = self._added(jax.vmap(self.model.hamiltonian)(k), k, s - self.counterterm)
        return z * jnp.eye(len(h))[..., None] - h

    def slope(self, k: Float[Array, "K d"], s: Complex[Array, "D D"]) -> Complex[Array, "3 n n K"]:
        """∂_c [H + P†(S − S₀)P] in eV Å."""
        r = self.places
        inside = 1j * jnp.moveaxis(r[None] - r[:, None], -1, 0) * (s - self.counterterm)
        return self._added(jax.vmap(self.model.derivative)(k), k, inside)

    def current(self, k: Float[Array, "K d"]) -> Complex[Array, "3 n n K"]:
        """The vertex of current between k ± q/2 in eV Å: bonds carry it at their middle.

        So v_a(k) = ∂H/∂k_a does not depend on q; but see :attr:`curl`.
        """
        return self.slope(k, jnp.zeros_like(self.counterterm))

    @property
    def curl(self) -> Complex[Array, "3 3 n n"] | None:
        """∂_q of the vertices that the field drives, minus that of those measured, in eV Å²; none without spin.

        A spin adds the current curl M of its moment M = −½ g_s μ_B σ, over e = −|e| and times ħ.
        """
        if self.model.spin is None:
            return None
        moment = 0.5 * ELECTRON_G * HBAR2_OVER_2M * jnp.asarray(self.model.spin)
        return 1j * jnp.einsum("abc,bij->caij", LEVI_CIVITA, moment)

    def phases(self, k: Float[Array, "K d"]) -> Complex[Array, "D D K"]:
        """Of P X P† on the impurities' orbitals."""
        phase = jnp.exp(2j * jnp.pi * (self.positions @ k.T))
        return phase[:, None] * phase.conj()

    def _added(self, matrices: Complex[Array, "K ... n n"], k: Array, s: Complex[Array, "... D D"]) -> Array:
        """M + P†SP as (…, n, n, K)."""
        added = self.phases(k).conj() * s[..., None]
        return jnp.moveaxis(matrices, 0, -1).at[..., self.orbitals[:, None], self.orbitals, :].add(added)


def inverses(matrices: Complex[Array, "... n n K"]) -> Complex[Array, "... n n K"]:
    """Of every matrix; those of one or two orbitals without LAPACK."""
    n = matrices.shape[-2]
    if n == 1:
        return 1 / matrices
    if n == 2:
        a, b, c, d = (matrices[..., i, j, :] for i in (0, 1) for j in (0, 1))
        adjugate = jnp.stack([jnp.stack([d, -b], axis=-2), jnp.stack([-c, a], axis=-2)], axis=-3)
        return adjugate / (a * d - b * c)[..., None, None, :]
    return jnp.moveaxis(jnp.linalg.inv(jnp.moveaxis(matrices, -1, 0)), 0, -1)


def product(a: Complex[Array, "... n n K"], b: Complex[Array, "... n n K"]) -> Complex[Array, "... n n K"]:
    """Of matrices side by side."""
    n = a.shape[-2]
    if n > UNROLLED:
        return jnp.moveaxis(jnp.moveaxis(a, -1, -3) @ jnp.moveaxis(b, -1, -3), -3, -1)
    return functools.reduce(jnp.add, (a[..., :, i, None, :] * b[..., i, None, :, :] for i in range(n)))


class Zone:
    """A grid over the zone of k, shifted as a whole, in tiles that the memory budget bounds.

    Args:
        model: any; its size says how large a tile is.
        grid: points along each reciprocal vector.
        shift: of the whole grid, in units of its step, (d,).
    """

    def __init__(self, model: TightBinding, grid: tuple[int, ...], shift: np.ndarray):
        self.model, self.grid, self.shift = model, grid, shift

    @property
    def count(self) -> int:
        """Points."""
        return int(np.prod(self.grid))

    def thinned(self, share: float) -> Zone:
        """For a broadening that is 1/share times as large."""
        grid = tuple(min(n, max(int(np.ceil(n * share)), FEWEST)) for n in self.grid)
        return Zone(self.model, grid, self.shift)

    def tiles(self) -> Iterator[tuple[Any, Any]]:
        """(k, weights) whose weights add up to one; a tile that is not full repeats points without weight."""
        rows = tile_rows(self.model, self.count)
        for first in range(0, self.count, rows):
            number = np.arange(first, first + rows)
            k, weights = self._nodes(np.minimum(number, self.count - 1))
            yield spread(k), spread(np.where(number < self.count, weights, 0.0))

    def _nodes(self, number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        index = np.unravel_index(number, self.grid)
        k = np.stack([(i + s) / n for i, s, n in zip(index, self.shift, self.grid, strict=True)], axis=-1)
        return k, np.full(len(number), 1 / self.count)


def tile_rows(model: TightBinding, count: int) -> int:
    """Points of one tile of ``count``: few sizes, as each is compiled."""
    rows = max(min(batch_bytes() // ARRAYS, CACHE) // (16 * model.size**2), 1)
    return min(MOST_ROWS, 1 << (int(rows).bit_length() - 1), 1 << max(count - 1, 2**8).bit_length())


@jax.jit
def _local(dressed: Dressed, k: Array, weights: Array, z: Any, s: Any) -> Complex[Array, "D D"]:
    """Σ_k w P G P†."""
    return dressed.local(k, inverses(dressed.inverse(k, z, s))) @ weights


class SelfEnergy(NamedTuple):
    """Of one complex energy, with the local G it belongs to.

    Attributes:
        s: S in eV, (D, D).
        green: G in 1/eV, (D, D).
        residual: of S, relative.
    """

    s: np.ndarray
    green: np.ndarray
    residual: float

    @property
    def advanced(self) -> SelfEnergy:
        """At the complex conjugate of the energy."""
        return SelfEnergy(self.s.conj().T, self.green.conj().T, self.residual)


def self_energy(
    dressed: Dressed,
    scatterers: Scatterers,
    zone: Zone,
    z: complex,
    start: np.ndarray,
    tolerance: float,
    *,
    absorbed: bool = False,
) -> SelfEnergy:
    """S and G of each other by iteration, Im z ≥ 0; the retarded solution, if ``start`` has Im S ≤ 0.

    With ``absorbed`` the Hermitian part of S itself is the counterterm: H(k) is taken to contain it.
    """
    tried, found = [], []
    s, green, residual = np.asarray(start, complex), start, np.inf
    for _ in range(ITERATIONS):
        acting = 0.5 * (s - s.conj().T) if absorbed else s
        green = sum(np.asarray(_local(dressed, k, w, complex(z), acting)) for k, w in zone.tiles())
        new = scatterers.self_energy(np.asarray(green))
        residual = float(np.abs(new - s).max() / max(float(np.abs(new).max()), 1e-300))
        if residual < tolerance:
            return SelfEnergy(new, np.asarray(green), residual)
        tried, found = [*tried[1 - MEMORY :], s.ravel()], [*found[1 - MEMORY :], new.ravel()]
        s = _mixed(np.array(tried), np.array(found)).reshape(new.shape)
    return SelfEnergy(s, np.asarray(green), residual)


def _mixed(tried: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Anderson's next iterate: the combination of results whose change is least, if each is linear in its start.

    Plain iteration is slow where disorder is strong, and goes in circles in a flat band.
    """
    change = found - tried
    if len(change) == 1:
        return found[0]
    weights = np.linalg.lstsq((change[:-1] - change[-1]).T, -change[-1], rcond=1e-10)[0]
    return found[-1] + weights @ (found[:-1] - found[-1])
