"""The averaged Green function: grids of k, local sums, and the self-consistent self-energy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxkin.devices import spread
from jaxkin.geometry import ELECTRON_G
from jaxkin.hamiltonian.tight_binding import TightBinding
from jaxkin.memory import batch_bytes
from jaxkin.quantum.scatterers import Scatterers
from jaxkin.units import HBAR2_OVER_2M

ARRAYS = 150
"""Complex (n, n) matrices that exist for one k while the bubble is differentiated, an estimate."""
MOST_ROWS = 2**13
ITERATIONS = 200
MEMORY = 5
"""Iterates that the next one is made of."""


class Dressed(eqx.Module):
    """G(k, z) = [z − H(k) − P†(k) (S − S₀) P(k)]⁻¹ with P_mα = δ_{α,α_m} exp[ik·(R_m + τ_m)], and its currents.

    Args:
        model: H(k), with |u⟩ periodic: positions stand in the phases.
        scatterers: the D located orbitals.
        counterterm: S₀ (D, D), a Hermitian part of the self-energy that H(k) already contains; zeros if it is bare.
    """

    model: TightBinding
    selection: Float[Array, "D n"]
    positions: Float[Array, "D d"]
    counterterm: Complex[Array, "D D"]

    def __init__(self, model: TightBinding, scatterers: Scatterers, counterterm: Any):
        self.model = model
        self.selection = jnp.eye(model.size)[scatterers.orbitals]
        self.positions = jnp.asarray(scatterers.positions)
        self.counterterm = jnp.asarray(counterterm, complex)

    def projector(self, k: Float[Array, " d"]) -> Complex[Array, "D n"]:
        """P(k) at model coordinates k."""
        return jnp.exp(2j * jnp.pi * (self.positions @ k))[:, None] * self.selection

    def green(self, k: Float[Array, " d"], z: Any, s: Complex[Array, "D D"]) -> Complex[Array, "n n"]:
        """G(k, z) in 1/eV."""
        p, h = self.projector(k), self.model.hamiltonian(k)
        return _inverse(z * jnp.eye(len(h)) - h - p.conj().T @ (s - self.counterterm) @ p)

    def currents(self, k: Float[Array, " d"], q: Float[Array, "3"], side: int) -> Complex[Array, "4 n n"]:
        """The vertices between k ± q/2 of density, 1, and of current in eV Å: bonds carry it at their middle.

        So v_a(k) = ∂H/∂k_a does not depend on q. A spin adds the current curl M of its moment M = −½ g_s μ_B σ.

        Args:
            k: model coordinates, in the middle.
            q: Cartesian, 1/Å.
            side: 1 for what the field drives, −1 for what is measured.
        """
        p, model = self.projector(k), self.model
        r = self.positions @ model.lattice  # (D, 3)
        inside = 1j * (r[:, None, :] - r[None, :, :]) * self.counterterm[:, :, None]
        v = model.derivative(k) + jnp.einsum("ma,mnc,nb->cab", p.conj(), inside, p)
        if model.spin is not None:
            # the current over e = −|e|, times ħ
            moment = 0.5 * ELECTRON_G * HBAR2_OVER_2M * model.spin
            v = v + 1j * side * jnp.cross(moment, q[:, None, None], axis=0)
        return jnp.concatenate([jnp.eye(model.size)[None], v])


@jax.custom_jvp
def _inverse(matrix: Complex[Array, "n n"]) -> Complex[Array, "n n"]:
    return jnp.linalg.inv(matrix)


@_inverse.defjvp
def _inverse_slope(primals, tangents):
    """−A⁻¹ dA A⁻¹: of jnp.linalg.inv it would be a second batch of LAPACK calls."""
    inverse = _inverse(primals[0])
    return inverse, -inverse @ tangents[0] @ inverse


class Zone:
    """A grid over the zone of k, shifted as a whole, in tiles that the memory budget bounds.

    Args:
        model: any; its size says how large a tile is.
        grid: points along each reciprocal vector.
        shift: of the whole grid, in units of its step, (d,).
    """

    def __init__(self, model: TightBinding, grid: tuple[int, ...], shift: np.ndarray):
        self.grid, self.shift = grid, shift
        self.count = int(np.prod(grid))
        rows = max(batch_bytes() // (16 * ARRAYS * model.size**2), 1)
        # few shapes, as each is compiled
        self.rows = min(MOST_ROWS, 1 << (int(rows).bit_length() - 1), 1 << max(self.count - 1, 2**8).bit_length())

    def tiles(self) -> Iterator[tuple[Any, Any]]:
        """(k, weights) whose weights add up to one; a tile that is not full repeats points without weight."""
        for first in range(0, self.count, self.rows):
            number = np.arange(first, first + self.rows)
            index = np.unravel_index(np.minimum(number, self.count - 1), self.grid)
            k = np.stack([(i + s) / n for i, s, n in zip(index, self.shift, self.grid, strict=True)], axis=-1)
            yield spread(k), spread((number < self.count) / self.count)


@jax.jit
def _local(dressed: Dressed, k: Array, weights: Array, z: Any, s: Any) -> Complex[Array, "D D"]:
    """Σ_k w P G P†."""

    def one(point: Array) -> Array:
        p = dressed.projector(point)
        return p @ dressed.green(point, z, s) @ p.conj().T

    return jnp.tensordot(weights, jax.vmap(one)(k), axes=1)


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
