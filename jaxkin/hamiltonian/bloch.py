"""What every Bloch Hamiltonian offers the rest of the pipeline."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar, cast, overload

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxkin.brief import brief, lines, plural
from jaxkin.checks import numbers
from jaxkin.errors import ModelError
from jaxkin.hamiltonian.eigensystem import eigenvalues
from jaxkin.namespace import is_traced, known_array

KPoint = Float[Array | np.ndarray, " d"]
Matrix = Complex[Array, "n n"]
VectorMatrix = Complex[Array, "3 n n"]
MomentFunction = Callable[[KPoint], Float[Array, "3"]]


Result = TypeVar("Result")


class jittable(Generic[Result]):
    """A method that jax.jit accepts as it is (equinox's bound methods hash their arrays, which have no hash)."""

    def __init__(self, function: Callable[..., Result]):
        functools.update_wrapper(self, function)  # pyright: ignore[reportArgumentType]
        self.function = function

    @overload
    def __get__(self, model: None, owner: Any = None) -> Self: ...

    @overload
    def __get__(self, model: object, owner: Any = None) -> Callable[..., Result]: ...

    def __get__(self, model: Any, owner: Any = None) -> Any:
        return self if model is None else jax.tree_util.Partial(self.function, model)


def spin_matrices(spin, n: int) -> VectorMatrix | None:
    """Checked (3, n, n) Pauli matrices on the basis, or None."""
    if spin is None:
        return None
    matrices = known_array("spin", spin, complex)
    if matrices.shape != (3, n, n):
        raise ModelError(f"spin has shape {matrices.shape}; it needs (3, {n}, {n}), one matrix per axis.")
    if not is_traced(matrices) and not np.allclose(matrices, np.swapaxes(matrices.conj(), 1, 2)):
        raise ModelError("the spin matrices are not Hermitian, or hold NaN.")
    return jnp.asarray(matrices)


class BlochModel(eqx.Module):
    """A Hamiltonian H(k) on a zone of k, with what converts k to Cartesian Å⁻¹: docs/theory.md, "Conventions".

    ``k`` is in *model coordinates*: reduced coordinates of the reciprocal lattice for a crystal,
    Cartesian Å⁻¹ for a k·p model (which has no lattice). Vectors are Cartesian with three
    components in any dimension; those a low-dimensional model cannot have are zero.

    A model of your own is a subclass (an equinox module) with the properties and the :meth:`hamiltonian` below. Where
    that takes complex k, analytically, local Green functions are found faster.
    """

    # without annotations, so that they are defaults and not fields of every model
    point_group = cast("str | None", None)
    """Schoenflies name if known."""
    spin = cast("VectorMatrix | None", None)
    """Pauli matrices on the orbitals, (3, n, n)."""
    moment = cast(Any, None)
    """A :data:`MomentFunction`: the moment (3,) in μ_B at model coordinates k that every band has besides."""
    periodic: ClassVar[bool] = True
    """Whether k and k + integers are the same."""

    @brief
    def __repr__(self) -> str:
        return lines(
            f"{type(self).__name__}: {plural(self.size, 'band')}, {plural(self.dimension, 'dimension')}, "
            f"point group {self.point_group or 'not stated'}",
            *self._described(),
            "ask for .bands(k), .hamiltonian(k), .derivative(k); jaxkin.band_geometry(model, k, band)",
        )

    def _described(self) -> tuple[str, ...]:
        """Lines about this kind of model for its text."""
        return (f"k within {self.zone}",)

    # --- what a kind of model provides -------------------------------------------------------
    @property
    def dimension(self) -> Literal[1, 2, 3]:
        """Number of directions d in which k runs."""
        raise NotImplementedError

    @property
    def size(self) -> int:
        """Number of bands n."""
        raise NotImplementedError

    @property
    def zone(self) -> tuple[tuple[float, float], ...]:
        """The sampled box of k, ((lo, hi), ...) in model coordinates."""
        raise NotImplementedError

    @property
    def basis(self) -> Float[Array, "d 3"]:
        """Rows: Cartesian k (Å⁻¹) per unit of each model coordinate."""
        raise NotImplementedError

    @property
    def dual(self) -> Float[Array, "d 3"]:
        """∂κ_i/∂k_a: model coordinates per Cartesian k (Å)."""
        raise NotImplementedError

    @property
    def measure(self) -> Float[Array, ""]:
        """(dk) = d^dk/(2π)^d in Å^-d per unit volume of model coordinates."""
        raise NotImplementedError

    @property
    def state_volume(self) -> Float[Array, ""]:
        """𝒱 in Å^d in which |u⟩ is normalised to one: the unit cell of a crystal, 1 in a continuum."""
        raise NotImplementedError

    @property
    def centres(self) -> Float[Array, "n 3"]:
        """Cartesian positions of the orbitals in Å, as far as the Bloch phases carry them."""
        return jnp.zeros((self.size, 3))

    @jittable
    def hamiltonian(self, k: KPoint) -> Matrix:
        """H(k) in eV, (n, n), at model coordinates ``k``."""
        raise NotImplementedError

    def packed(self) -> BlochModel:
        """The same model as calls on many k are handed it: with what they would otherwise all make anew."""
        return self

    # --- what follows from it ----------------------------------------------------------------
    @jittable
    def bands(self, k: Float[Array | np.ndarray, "*batch d"]) -> Float[Array, "*batch n"]:
        """Energies ε_n(k) in eV, ascending, at model coordinates ``k``: (n,) of one k (d,), (..., n) of many (..., d).

        Many k are diagonalised in tiles that the memory budget holds, on all cores.

        Raises:
            JaxkinError: k that is not finite.
            ModelError: k of another dimension.

        >>> import jaxkin as jk
        >>> model = jk.models.get("haldane")
        >>> model.bands([0.0, 0.0]).shape, model.bands(np.zeros((5, 4, 2))).shape
        ((2,), (5, 4, 2))
        """
        if is_traced(k):
            k = jnp.asarray(k, float)
            return eigenvalues(self.hamiltonian(k)) if k.ndim < 2 else self._each(k)
        points = numbers("k", k, f"finite model coordinates, {self.dimension} in each row")
        if points.shape[-1:] != (self.dimension,):
            raise ModelError(f"k has shape {points.shape}; its last axis must be the {self.dimension} coordinates.")
        if points.ndim < 2:
            return eigenvalues(self.hamiltonian(points))
        if is_traced(self):
            return self._each(jnp.asarray(points))
        from jaxkin.hamiltonian.spectrum import Spectrum  # which is built on models

        energies = Spectrum(self)(points.reshape(-1, self.dimension))
        return jnp.asarray(energies.reshape(*points.shape[:-1], self.size))

    def _each(self, k: Float[Array, "*batch d"]) -> Float[Array, "*batch n"]:
        """Bands where something is traced."""
        return jnp.vectorize(lambda one: eigenvalues(self.hamiltonian(one)), signature="(d)->(n)")(k)

    def cartesian(self, k: Float[Array | np.ndarray, "*batch d"]) -> Float[Array, "*batch 3"]:
        """Cartesian k in Å⁻¹ of model coordinates ``k``."""
        return jnp.asarray(k, float) @ self.basis

    def position(self, k: KPoint) -> VectorMatrix | None:
        """Position matrix r(k) in Å on the orbitals beyond their centres, or None."""
        del k
        return None

    def hamiltonian_moments(self, k: KPoint) -> tuple[VectorMatrix, VectorMatrix] | None:
        """B_a = i⟨w|H|∂_a w⟩ in eV Å and i(C_ab − C_ba), C_ab = ⟨∂_a w|H|∂_b w⟩, in eV Å², abc cyclic; or None.

        They complete the orbital moment by what lies outside the orbitals' own space.
        """
        del k
        return None

    def pauli(self, k: KPoint) -> VectorMatrix | None:
        """Pauli matrices on the orbitals at k, (3, n, n), or None."""
        del k
        return self.spin

    @jittable
    def derivative(self, k: KPoint) -> VectorMatrix:
        """Covariant derivative D_a H = ∂H/∂k_a − i[r_a, H] in eV Å, (3, n, n), Cartesian.

        The commutator is there only for a model with position matrices.
        """
        return self.hamiltonian_and_derivative(k)[1]

    @jittable
    def hamiltonian_and_derivative(self, k: KPoint) -> tuple[Matrix, VectorMatrix]:
        """H in eV, (n, n), and its covariant :meth:`derivative`, (3, n, n): together cheaper than apart."""
        h, plain = self._hamiltonian_and_slopes(k)
        r = self.position(k)
        return h, plain if r is None else plain - 1j * (r @ h - h @ r)

    def _hamiltonian_and_slopes(self, k: KPoint) -> tuple[Matrix, VectorMatrix]:
        """H and ∂H/∂k_a, by forward-mode automatic differentiation."""

        def twice(q: KPoint) -> tuple[Matrix, Matrix]:
            h = self.hamiltonian(q)
            return h, h

        jacobian, h = jax.jacfwd(twice, has_aux=True)(jnp.asarray(k, float))
        return h, self._cartesian(jacobian)

    def wannier_curvature(self, k: KPoint) -> VectorMatrix | None:
        """Curvature F_c = ∂_a r_b − ∂_b r_a − i[r_a, r_b] (abc cyclic) in Å² of the orbitals' own space.

        Non-zero because a finite set of Wannier functions is not complete; None without position
        matrices.
        """
        r = self.position(k)
        if r is None:
            return None
        dr = self._cartesian(jax.jacfwd(self.position)(jnp.asarray(k, float)))  # [a, b] = ∂_a r_b
        a, b = jnp.array([1, 2, 0]), jnp.array([2, 0, 1])
        return dr[a, b] - dr[b, a] - 1j * (r[a] @ r[b] - r[b] @ r[a])

    def _cartesian(self, jacobian: Array) -> Array:
        """∂/∂k_a, the Cartesian index first, of what is differentiated with respect to κ in its last index."""
        return jnp.tensordot(self.dual.T, jacobian, axes=(1, -1)).astype(complex)
