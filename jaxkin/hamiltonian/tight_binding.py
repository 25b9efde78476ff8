"""Tight-binding and Wannier models."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int
from numpy.typing import ArrayLike

from jaxkin.brief import plural
from jaxkin.checks import MOST_EXACT, shown
from jaxkin.errors import ModelError
from jaxkin.hamiltonian.bloch import BlochModel, KPoint, Matrix, MomentFunction, VectorMatrix, jittable, spin_matrices
from jaxkin.hamiltonian.waves import made_once, packed, summed
from jaxkin.namespace import is_traced, known_array
from jaxkin.precision import use_double

HERMITIAN = 1e-5
"""eV (Å for positions) by which an element and its adjoint may differ ..."""
HERMITIAN_RELATIVE = 1e-6
"""... or this part of it: files carry 6 to 15 digits."""
LONGEST = 1e9
"""Å that a lattice vector may have."""


class TightBinding(BlochModel):
    """Tight-binding model, H_αβ(k) = Σ_R exp[ik·(R + τ_β − τ_α)] ⟨0α|H|Rβ⟩.

    Orbital positions τ stand in the phases, so |u⟩ is the periodic part of the Bloch state (docs/theory.md,
    "Conventions").

    Args:
        lattice: (d, 3) rows a_i in Å (also (d, d): the vectors then lie in the first d axes).
        translations: (R, d) integers; also (R, 3) with zeros beyond the periodic directions. The matrices of
            repeated ones are added up.
        hoppings: (R, n, n) in eV, ``hoppings[R, a, b] = <0a|H|Rb>``.
        positions: (n, d) reduced orbital positions (also (n, 3)).
        position_matrices: (R, n, n, 3) ⟨0α|r|Rβ⟩ in Å, Cartesian. Their diagonal at R = 0 should be
            the positions; what is beyond enters the covariant derivative D = ∂ − i[r, ·].
        spin: (3, n, n) Pauli matrices σ on the orbitals, or (R, n, n, 3) ⟨0α|σ|Rβ⟩; the spin moment −½ g_s μ_B⟨σ⟩ is
            then added.
        hr_matrices: (R, n, n, 3) ⟨0α|H(r−R−τ_β)|Rβ⟩ in eV Å, and
        rhr_matrices: (R, n, n, 3) i(C_ab − C_ba), abc cyclic, C_ab = ⟨0α|(r−τ_α)_a H (r−R−τ_β)_b|Rβ⟩, in eV Å²: with
            both and the position matrices the orbital moment is complete (:func:`jaxkin.band_geometry`).
        point_group: Schoenflies name if known, e.g. ``"D4"``; see :func:`jaxkin.verify_point_group`.

    Raises:
        ModelError: shapes that do not fit, NaN, H_R ≠ H_{−R}†, or a singular lattice. Traced numbers, under
            ``jax.jit`` or ``jax.grad``, are not checked; translations cannot be traced.

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
    pairs: Int[Array, "2 H"]
    spin: VectorMatrix | Complex[Array, "R n n 3"] | None
    hr_matrices: Complex[Array, "R n n 3"] | None
    rhr_matrices: Complex[Array, "R n n 3"] | None
    packed_matrices: dict[str, Array] | None
    """What :meth:`packed` adds."""
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
        hr_matrices: ArrayLike | None = None,
        rhr_matrices: ArrayLike | None = None,
        point_group: str | None = None,
    ):
        use_double()
        cell = _lattice_rows(lattice)
        d = len(cell)
        steps = _periodic_columns("translations", translations, d)
        hop = known_array("hoppings", hoppings, complex)
        n = hop.shape[-1] if hop.ndim == 3 else 0
        if not n:
            raise ModelError(f"hoppings have shape {hop.shape}; they need (translations, orbitals, orbitals).")
        if hop.shape != (len(steps), n, n):
            raise ModelError(
                f"hoppings have shape {hop.shape}, but {len(steps)} translations of {n} orbitals "
                f"need ({len(steps)}, {n}, {n})."
            )
        centres = known_array("positions", positions, float)
        if centres.ndim != 2 or len(centres) != n or centres.shape[1] < d:
            raise ModelError(f"positions need {n} rows of {d} reduced coordinates, one per orbital.")
        centres = centres[:, :d]
        if _bad(centres):
            raise ModelError(f"positions hold NaN or infinity for orbital {_first_bad(centres)}.")
        if _bad(hop):
            raise ModelError(f"hoppings hold NaN or infinity at R = {steps[_first_bad(hop)]}.")
        _check_hermitian("hoppings", steps, hop)
        r = _vector_matrices("position_matrices", position_matrices, steps, hop.shape)
        if r is not None:
            r = _without_centres(r, steps, centres @ cell)
            _check_axes("position_matrices", steps, r)
        if (hr_matrices is None) != (rhr_matrices is None) or (hr_matrices is not None and (r is None or d < 3)):
            raise ModelError("hr_matrices and rhr_matrices come together, with position_matrices, in three dimensions.")
        hr = _vector_matrices("hr_matrices", hr_matrices, steps, hop.shape)
        rhr = _vector_matrices("rhr_matrices", rhr_matrices, steps, hop.shape)
        if rhr is not None:
            _check_axes("rhr_matrices", steps, rhr)
        between_cells = spin is not None and len(np.shape(spin)) == 4
        if between_cells:
            spin = _vector_matrices("spin", spin, steps, hop.shape)
            _check_axes("spin", steps, spin)
        place, complete = _with_partners(steps)
        self.lattice = jnp.asarray(cell)
        self.translations = jnp.asarray(complete, float)
        self.hoppings = _gathered(hop, place, len(complete))
        self.positions = jnp.asarray(centres)
        self.position_matrices, self.hr_matrices, self.rhr_matrices = (
            None if one is None else _gathered(one, place, len(complete)) for one in (r, hr, rhr)
        )
        self.pairs = jnp.asarray(_pairs(complete))
        self.spin = _gathered(spin, place, len(complete)) if between_cells else spin_matrices(spin, n)
        self.packed_matrices = None
        self.point_group = point_group
        self.moment = None

    def _described(self) -> tuple[str, ...]:
        lengths = ", ".join(f"{x:.4f}" for x in np.linalg.norm(np.asarray(self.lattice), axis=1))
        extras = [name for name, there in (("spin operators", self.spin), ("position matrices", self.position_matrices),
                                           ("the complete orbital moment", self.hr_matrices),
                                           ("a moment of its own", self.moment)) if there is not None]  # fmt: skip
        with_ = f", with {' and '.join(extras)}" if extras else ""
        return (f"lattice vectors of {lengths} Å, {plural(len(self.translations), 'translation')}{with_}",)

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

    def packed(self) -> TightBinding:
        """With the matrices as sums over R take them, which calls on many k would make anew each time."""
        if self.packed_matrices is not None or is_traced(self):
            return self
        between_cells = self.spin if self.spin is not None and self.spin.ndim == 4 else None
        named = {"hamiltonian": self.hoppings, "position": self.position_matrices, "moments": self.rhr_matrices,
                 "spin": between_cells}  # fmt: skip
        names = tuple(name for name, matrices in named.items() if matrices is not None)
        arrays = [one for one in (*named.values(), self.hr_matrices, self.pairs) if one is not None]
        found = made_once(lambda: _all_packed(self, names), tuple(arrays))
        return eqx.tree_at(lambda m: m.packed_matrices, self, found, is_leaf=lambda x: x is None)

    @jittable
    def hamiltonian(self, k: KPoint) -> Matrix:
        return _turned(*summed(self._waves(k)[0], self._packed("hamiltonian")), *self._sites(k))

    def position(self, k: KPoint) -> VectorMatrix | None:
        return None if self.position_matrices is None else self._vectors(k, "position")

    def hamiltonian_moments(self, k: KPoint) -> tuple[VectorMatrix, VectorMatrix] | None:
        if self.hr_matrices is None or self.rhr_matrices is None:
            return None
        parts = self._vectors(k, "moments")
        return parts[:3] + 1j * parts[3:6], parts[6:]

    def pauli(self, k: KPoint) -> VectorMatrix | None:
        return self.spin if self.spin is None or self.spin.ndim == 3 else self._vectors(k, "spin")

    def _vectors(self, k: KPoint, name: str) -> Complex[Array, "c n n"]:
        """Σ_R exp[ik·(R + τ_β − τ_α)] M_R of Hermitian ones, M_R = M†_{−R}."""
        return _turned(*summed(self._waves(k)[0], self._packed(name)), *self._sites(k))

    def _packed(self, name: str) -> Float[Array, "2H ... n n"]:
        """Matrices of a ``name`` as :func:`jaxkin.hamiltonian.waves.summed` takes them."""
        known = self.packed_matrices
        return packed(self._matrices(name), self.pairs) if known is None else known[name]

    def _matrices(self, name: str) -> Complex[Array, "R ... n n"]:
        """Hermitian ones, M_R = M†_{−R}; of the moments, two times three of Hr and three of rHr."""
        if name == "hamiltonian":
            return self.hoppings
        matrices: Any = {"position": self.position_matrices, "spin": self.spin, "moments": self.rhr_matrices}[name]
        if name == "moments" and self.hr_matrices is not None:
            adjoint = self.adjoint(self.hr_matrices)
            even, odd = 0.5 * (self.hr_matrices + adjoint), -0.5j * (self.hr_matrices - adjoint)
            matrices = jnp.concatenate([even, odd, matrices], axis=-1)
        return jnp.moveaxis(matrices, -1, 1)

    def adjoint(self, matrices: Complex[Array, "R n n c"]) -> Complex[Array, "R n n c"]:
        """M†_{−R} of M_R, in its unit."""
        dagger, (one, other) = jnp.swapaxes(matrices.conj(), 1, 2), self.pairs
        return jnp.zeros_like(matrices).at[one].set(dagger[other]).at[other].set(dagger[one])

    def _hamiltonian_and_slopes(self, k: KPoint) -> tuple[Matrix, VectorMatrix]:
        """H and ∂H/∂k_a: for many k one real matrix product."""
        real, imaginary = summed(self._waves(k), self._packed("hamiltonian"))
        sites, centres = self._sites(k), self.centres.T  # (3, n)
        distance = centres[:, None, :] - centres[:, :, None]
        slopes = real[1:] - distance * imaginary[0], imaginary[1:] + distance * real[0]
        return _turned(real[0], imaginary[0], *sites), _turned(*slopes, *sites)

    def _waves(self, k: KPoint) -> Float[Array, "4 2H"]:
        """cos k·R and sin k·R of one of each pair (R, −R), and their derivatives by Cartesian k, in Å."""
        steps = self.translations[self.pairs[0]]
        angle = 2 * jnp.pi * (steps @ jnp.asarray(k, float))
        cos, sin, length = jnp.cos(angle), jnp.sin(angle), (steps @ self.lattice).T
        slopes = jnp.concatenate([-length * sin, length * cos], axis=1)
        return jnp.concatenate([jnp.concatenate([cos, sin])[None], slopes])

    def _sites(self, k: KPoint) -> tuple[Float[Array, "n n"], Float[Array, "n n"]]:
        """Re and Im of exp[ik·(τ_β − τ_α)], by products that XLA does not inline into every use of them."""
        angle = 2 * jnp.pi * (self.positions @ jnp.asarray(k, float))
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        both = jnp.stack([cos, sin], axis=1)
        return both @ both.T, both @ jnp.stack([sin, -cos])


@eqx.filter_jit
def _all_packed(model: TightBinding, names: tuple[str, ...]) -> dict[str, Array]:
    return {name: packed(model._matrices(name), model.pairs) for name in names}


def _turned(real: Array, imaginary: Array, cos: Array, sin: Array) -> Complex[Array, "... n n"]:
    """(real + i imaginary)(cos + i sin), a third of the time that complex numbers take."""
    return jax.lax.complex(real * cos - imaginary * sin, real * sin + imaginary * cos)


def _pairs(steps: np.ndarray) -> np.ndarray:
    """Indices of one translation of each pair R, −R, and of the other one, (2, H)."""
    place = {tuple(step): index for index, step in enumerate(steps.tolist())}
    partner = np.array([place[tuple(step)] for step in (-steps).tolist()], int)
    one = np.flatnonzero(partner >= np.arange(len(steps)))
    return np.stack([one, partner[one]])


def _with_partners(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every translation once, in order, missing partners −R last; and the place of each of ``steps`` among them."""
    every = np.concatenate([steps, -steps])
    _, first, inverse = np.unique(every, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return np.argsort(order)[inverse.ravel()][: len(steps)], every[first[order]]


def _gathered(matrices: Any, place: np.ndarray, count: int) -> Array:
    """Matrices of ``count`` translations, those of repeated ones added up; compiles nothing where they are known."""
    if is_traced(matrices):
        return jnp.zeros((count, *matrices.shape[1:]), complex).at[place].add(matrices)
    total = np.zeros((count, *matrices.shape[1:]), complex)
    np.add.at(total, place, matrices)
    return jnp.asarray(total)


def _lattice_rows(lattice: ArrayLike) -> Any:
    cell = known_array("lattice", lattice, float)
    numpy = jnp if is_traced(cell) else np
    if not cell.ndim:
        raise ModelError(f"lattice={shown(lattice)} must be 1 to 3 rows a_i of 3 components in Å.")
    cell = numpy.atleast_2d(cell)
    d = len(cell)
    if d not in (1, 2, 3) or cell.shape[1] not in (d, 3):
        raise ModelError(f"lattice has shape {cell.shape}; it needs 1 to 3 rows a_i of 3 components in Å.")
    cell = numpy.pad(cell, ((0, 0), (0, 3 - cell.shape[1])))
    if not is_traced(cell) and np.any(np.isfinite(cell) & (np.abs(cell) > LONGEST)):
        raise ModelError(f"lattice={shown(cell)} has vectors longer than {LONGEST:g} Å.")
    if not is_traced(cell) and not (np.all(np.isfinite(cell)) and np.linalg.det(cell @ cell.T) > 1e-12):
        raise ModelError("the lattice vectors are linearly dependent or not finite.")
    return cell


def _periodic_columns(name: str, values: ArrayLike, d: int) -> np.ndarray:
    array = known_array(name, values, float)
    if not array.size or not np.all(np.abs(array) <= MOST_EXACT) or np.any(np.abs(array - np.rint(array)) > 1e-5):
        raise ModelError(f"{name} must be integers.")
    steps = np.rint(array).astype(int).reshape(len(array), -1)
    if steps.shape[1] < d or np.any(steps[:, d:]):
        raise ModelError(f"{name} need {d} integers each, one per lattice vector.")
    return steps[:, :d]


def _bad(array: Any) -> bool:
    """Whether an array whose values are known holds NaN or infinity."""
    return not is_traced(array) and not np.all(np.isfinite(array))


def _first_bad(array: np.ndarray) -> int:
    return int(np.argmax(~np.isfinite(array.reshape(len(array), -1)).all(axis=1)))


def _without_centres(r: Any, steps: np.ndarray, centres: Any) -> Any:
    """Subtract the orbital centres, which the Bloch phases already carry.

    Along a non-periodic direction no phase carries them and ``centres`` is zero: r stays whole there.
    """
    home = np.flatnonzero(~steps.any(axis=1))
    diagonal = np.arange(r.shape[1])
    where, share = (home[:, None], diagonal, diagonal), centres / max(len(home), 1)
    if not is_traced(r, centres):
        r[where] -= share
        return r
    return jnp.asarray(r).at[where].add(-share)


def partners(steps: np.ndarray) -> np.ndarray:
    """Index of each translation's −R, −1 where there is none."""
    place = {tuple(step): index for index, step in enumerate(steps.tolist())}
    return np.array([place.get(tuple(step), -1) for step in (-steps).tolist()], int)


def asymmetry(matrices: np.ndarray, partner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """|M_R − M†_{−R}| over what is tolerated, and itself, element by element; what has no −R is compared with zero."""
    adjoint = np.where((partner < 0).reshape(-1, *(1,) * (matrices.ndim - 1)), 0, matrices[partner])
    adjoint = adjoint.conj().swapaxes(1, 2)
    difference = np.abs(matrices - adjoint)
    size = np.minimum(np.abs(matrices), np.abs(adjoint))
    return difference / np.maximum(HERMITIAN, HERMITIAN_RELATIVE * size), difference


def _vector_matrices(name: str, values: ArrayLike | None, steps: np.ndarray, shape: tuple[int, ...]) -> Any:
    """(R, n, n, 3) without NaN, or None."""
    if values is None:
        return None
    matrices = known_array(name, values, complex)
    if matrices.shape != (*shape, 3):
        raise ModelError(f"{name} have shape {matrices.shape}; they need {(*shape, 3)}.")
    if _bad(matrices):
        raise ModelError(f"{name} hold NaN or infinity at R = {steps[_first_bad(matrices)]}.")
    return matrices


def _check_axes(name: str, steps: np.ndarray, matrices: Any) -> None:
    for a in range(3):
        _check_hermitian(f"{name} (axis {'xyz'[a]})", steps, matrices[..., a])


def _check_hermitian(name: str, steps: np.ndarray, matrices: np.ndarray) -> None:
    """H_R = H_{−R}†, with repeated translations added up; what is traced is not looked at."""
    if is_traced(matrices):
        return
    place = {step: index for index, step in enumerate(dict.fromkeys(map(tuple, steps.tolist())))}
    distinct = np.array(list(place))
    total = np.zeros((len(distinct), *matrices.shape[1:]), complex)
    np.add.at(total, [place[tuple(step)] for step in steps.tolist()], matrices)
    partner = partners(distinct)
    excess, difference = asymmetry(total, partner)
    worst = np.unravel_index(int(np.argmax(excess)), excess.shape)
    if excess[worst] > 1:
        missing = " (its partner -R is missing)" if partner[worst[0]] < 0 else ""
        raise ModelError(
            f"{name} are not Hermitian: the matrices at R = {tuple(distinct[worst[0]].tolist())} and -R "
            f"differ by {difference[worst]:.2g}{missing}."
        )
