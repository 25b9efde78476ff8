"""Tight-binding and Wannier models."""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float
from numpy.typing import ArrayLike

from jaxkin.errors import ModelError
from jaxkin.hamiltonian.bloch import BlochModel, KPoint, Matrix, MomentFunction, VectorMatrix, jittable, spin_matrices
from jaxkin.precision import use_double

HERMITICITY_TOLERANCE = 1e-6  # of the largest hopping; files carry 6 to 15 digits


class TightBinding(BlochModel):
    """Tight-binding model, H_αβ(k) = Σ_R exp[ik·(R + τ_β − τ_α)] ⟨0α|H|Rβ⟩.

    Orbital positions τ stand in the phases, so |u⟩ is the periodic part of the Bloch state.

    Args:
        lattice: (d, 3) rows a_i in Å (also (d, d): the vectors then lie in the first d axes).
        translations: (R, d) integers; also (R, 3) with zeros beyond the periodic directions.
        hoppings: (R, n, n) in eV, ``hoppings[R, a, b] = <0a|H|Rb>``.
        positions: (n, d) reduced orbital positions (also (n, 3)).
        position_matrices: (R, n, n, 3) ⟨0α|r|Rβ⟩ in Å, Cartesian. Their diagonal at R = 0 should be
            the positions; what is beyond enters the covariant derivative D = ∂ − i[r, ·].
        spin: (3, n, n) Pauli matrices σ on the orbitals; the spin moment −½ g_s μ_B⟨σ⟩ is then added.
        point_group: Schoenflies name if known, e.g. ``"D4"``; see :func:`jaxkin.verify_point_group`.

    Raises:
        ModelError: shapes that do not fit, NaN, H_R ≠ H_{−R}†, or a singular lattice.

    >>> import jaxkin as jk, numpy as np
    >>> chain = jk.TightBinding([[2.0, 0, 0]], [[1], [-1]], -np.ones((2, 1, 1)), [[0.0]])
    >>> [round(float(chain.bands([k])[0]), 6) for k in (0.0, 0.5)]
    [-2.0, 2.0]
    """

    lattice: Float[Array, "d 3"]
    translations: Float[Array, "R d"]
    hoppings: Complex[Array, "R n n"]
    positions: Float[Array, "n d"]
    position_matrices: Complex[Array, "R n n 3"] | None
    spin: VectorMatrix | None
    point_group: str | None = eqx.field(static=True)
    moment: MomentFunction | None = eqx.field(static=True)
    periodic: ClassVar[bool] = True

    def __init__(
        self,
        lattice: ArrayLike,
        translations: ArrayLike,
        hoppings: ArrayLike,
        positions: ArrayLike,
        position_matrices: ArrayLike | None = None,
        spin: ArrayLike | None = None,
        *,
        point_group: str | None = None,
    ):
        use_double()
        cell = _lattice_rows(lattice)
        d = len(cell)
        steps = _periodic_columns("translations", translations, d)
        hop = np.asarray(hoppings, complex)
        n = hop.shape[-1]
        if hop.shape != (len(steps), n, n):
            raise ModelError(
                f"hoppings have shape {hop.shape}, but {len(steps)} translations of {n} orbitals "
                f"need ({len(steps)}, {n}, {n})."
            )
        centres = np.asarray(positions, float)
        if centres.ndim != 2 or len(centres) != n or centres.shape[1] < d:
            raise ModelError(f"positions need {n} rows of {d} reduced coordinates, one per orbital.")
        centres = centres[:, :d]
        if not np.all(np.isfinite(centres)):
            raise ModelError(f"positions hold NaN or infinity for orbital {_first_bad(centres)}.")
        if not np.all(np.isfinite(hop)):
            raise ModelError(f"hoppings hold NaN or infinity at R = {steps[_first_bad(hop)]}.")
        _check_hermitian("hoppings", steps, hop)
        self.lattice = jnp.asarray(cell)
        self.translations = jnp.asarray(steps, float)
        self.hoppings = jnp.asarray(hop)
        self.positions = jnp.asarray(centres)
        self.position_matrices = None
        if position_matrices is not None:
            r = np.array(position_matrices, complex)
            if r.shape != (*hop.shape, 3):
                raise ModelError(f"position_matrices have shape {r.shape}; they need {(*hop.shape, 3)}.")
            if not np.all(np.isfinite(r)):
                raise ModelError(f"position_matrices hold NaN or infinity at R = {steps[_first_bad(r)]}.")
            r = _without_centres(r, steps, centres @ cell)
            for a in range(3):
                _check_hermitian(f"position_matrices (axis {'xyz'[a]})", steps, r[..., a])
            self.position_matrices = jnp.asarray(r)
        self.spin = spin_matrices(spin, n)
        self.point_group = point_group
        self.moment = None

    @property
    def dimension(self):
        return self.lattice.shape[0]

    @property
    def size(self):
        return self.hoppings.shape[-1]

    @property
    def zone(self):
        return ((0.0, 1.0),) * self.dimension

    @property
    def basis(self):
        """Reciprocal vectors b_i (rows, Å⁻¹), a_i·b_j = 2π δ_ij."""
        return 2 * jnp.pi * jnp.linalg.pinv(self.lattice).T

    @property
    def dual(self):
        return self.lattice / (2 * jnp.pi)

    @property
    def cell_volume(self) -> Float[Array, ""]:
        """Volume (area, length) of the unit cell in Å^d."""
        return jnp.sqrt(jnp.linalg.det(self.lattice @ self.lattice.T))

    @property
    def state_volume(self):
        return self.cell_volume

    @property
    def centres(self):
        return self.positions @ self.lattice

    @property
    def measure(self):
        return 1 / self.cell_volume

    @jittable
    def hamiltonian(self, k: KPoint) -> Matrix:
        return self._bloch_sum(k, self.hoppings)

    def position(self, k: KPoint) -> VectorMatrix | None:
        if self.position_matrices is None:
            return None
        return jnp.moveaxis(self._bloch_sum(k, self.position_matrices), -1, 0)

    def _bloch_sum(self, k: KPoint, matrices: Complex[Array, "R n n ..."]) -> Array:
        """Σ_R e^{ik·(R + τ_β − τ_α)} M_R, written as real sums, which for many k is one real matrix product."""
        k = jnp.asarray(k, float)
        angle = 2 * jnp.pi * (self.translations @ k)
        flat = matrices.reshape(len(matrices), -1)
        parts = jnp.concatenate([flat.real, flat.imag], axis=1)
        turned = jnp.concatenate([-flat.imag, flat.real], axis=1)
        real, imaginary = jnp.split(jnp.cos(angle) @ parts + jnp.sin(angle) @ turned, 2)
        summed = (real + 1j * imaginary).reshape(matrices.shape[1:])
        sites = jnp.exp(2j * jnp.pi * (self.positions @ k))
        phases = sites.conj()[:, None] * sites[None, :]
        return summed * phases.reshape(phases.shape + (1,) * (summed.ndim - 2))


def _lattice_rows(lattice: ArrayLike) -> np.ndarray:
    cell = np.atleast_2d(np.asarray(lattice, float))
    d = len(cell)
    if d not in (1, 2, 3) or cell.shape[1] not in (d, 3):
        raise ModelError(f"lattice has shape {cell.shape}; it needs 1 to 3 rows a_i of 3 components in Å.")
    cell = np.pad(cell, ((0, 0), (0, 3 - cell.shape[1])))
    if not np.all(np.isfinite(cell)) or not np.linalg.det(cell @ cell.T) > 1e-12:
        raise ModelError("the lattice vectors are linearly dependent or not finite.")
    return cell


def _periodic_columns(name: str, values: ArrayLike, d: int) -> np.ndarray:
    array = np.asarray(values)
    steps = np.rint(np.asarray(array, float)).astype(int).reshape(len(array), -1)
    if not np.allclose(steps, np.asarray(array, float).reshape(steps.shape)):
        raise ModelError(f"{name} must be integers.")
    if steps.shape[1] < d or np.any(steps[:, d:]):
        raise ModelError(f"{name} need {d} integers each, one per lattice vector.")
    return steps[:, :d]


def _first_bad(array: np.ndarray) -> int:
    return int(np.argmax(~np.isfinite(array.reshape(len(array), -1)).all(axis=1)))


def _without_centres(r: np.ndarray, steps: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Subtract the orbital centres, which the Bloch phases already carry.

    Along a non-periodic direction no phase carries them and ``centres`` is zero: r stays whole there.
    """
    home = np.flatnonzero(~steps.any(axis=1))
    diagonal = np.arange(r.shape[1])
    r[home[:, None], diagonal, diagonal] -= centres / max(len(home), 1)
    return r


def _check_hermitian(name: str, steps: np.ndarray, matrices: np.ndarray) -> None:
    """H_R = H_{−R}†, with repeated translations added up."""
    total: dict[tuple, np.ndarray] = {}
    for step, matrix in zip(map(tuple, steps), matrices, strict=True):
        total[step] = total.get(step, 0) + matrix
    scale = max(float(np.max(np.abs(matrices), initial=0.0)), 1e-300)
    for step, matrix in total.items():
        partner = total.get(tuple(-s for s in step))
        error = np.max(np.abs(matrix - (0 if partner is None else partner.conj().T)))
        if error > HERMITICITY_TOLERANCE * scale:
            missing = " (its partner -R is missing)" if partner is None else ""
            raise ModelError(
                f"{name} are not Hermitian: the matrices at R = {tuple(int(s) for s in step)} and -R "
                f"differ by {error:.2g}{missing}."
            )
