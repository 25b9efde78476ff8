"""k·p models: any JAX function of k on a box."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxkin.checks import check_kind
from jaxkin.errors import ModelError
from jaxkin.hamiltonian.bloch import BlochModel, KPoint, Matrix, MomentFunction, VectorMatrix, jittable, spin_matrices
from jaxkin.namespace import is_traced, known_array
from jaxkin.precision import use_double


class KdotP(BlochModel):
    """A k·p Hamiltonian H(k) on a stated, non-periodic box of k: docs/theory.md, "Conventions" and "Units inside".

    Args:
        hamiltonian: JAX function of k (Å⁻¹, shape (d,)) that returns (n, n) in eV. Make it a
            ``jax.tree_util.Partial`` or an equinox module to differentiate with respect to its parameters.
            Best it is analytic in k: ``k_x + 1j * k_y``, not the conjugate of ``k_x - 1j * k_y``.
        box: ((lo, hi), ...) in Å⁻¹, one pair per direction; the Fermi surface must lie inside.
        spin: (3, n, n) Pauli matrices on the basis; adds the spin moment.
        moment: JAX function of k that returns an extra moment (3,) in μ_B, the same for every band.
        point_group: Schoenflies name if known.
        unbounded: H(k) holds for all k: integrals over filled states go on beyond the box.

    Model coordinates are k itself, in Å⁻¹.

    Raises:
        ModelError: an empty box, or a Hamiltonian that is not a Hermitian (n, n) matrix there.
        JaxkinError: a Hamiltonian that is no function.

    >>> import jaxkin as jk, jax.numpy as jnp
    >>> model = jk.KdotP(lambda k: jnp.array([[3.81 * k @ k]]), ((-1, 1),) * 3)
    >>> round(float(model.bands([0.5, 0.0, 0.0])[0]), 4)
    0.9525
    """

    function: Callable
    spin: VectorMatrix | None
    moment: MomentFunction | None
    box: tuple[tuple[float, float], ...] = eqx.field(static=True)
    point_group: str | None = eqx.field(static=True)
    unbounded: bool = eqx.field(static=True)
    _size: int = eqx.field(static=True)
    periodic: ClassVar[bool] = False

    def __init__(
        self,
        hamiltonian: Callable,
        box: Sequence[tuple[float, float]],
        *,
        spin: ArrayLike | None = None,
        moment: MomentFunction | None = None,
        point_group: str | None = None,
        unbounded: bool = False,
    ):
        use_double()
        self.unbounded = unbounded
        self.function = hamiltonian
        check_kind("hamiltonian", hamiltonian, Callable, "a JAX function of k (d,) in Å⁻¹")
        pairs = known_array("box", box, float)
        if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.all(np.isfinite(pairs)):
            raise ModelError(f"box must be 1 to 3 pairs (lo, hi) with lo < hi in Å⁻¹, not {box}.")
        self.box = tuple((lo, hi) for lo, hi in pairs.tolist())
        self.point_group = point_group
        self.moment = moment
        if len(self.box) not in (1, 2, 3) or any(not lo < hi for lo, hi in self.box):
            raise ModelError(f"box must be 1 to 3 pairs (lo, hi) with lo < hi in Å⁻¹, not {box}.")
        k = jnp.array([lo + 0.3819 * (hi - lo) for lo, hi in self.box])
        try:
            shape = jax.eval_shape(lambda q: jnp.asarray(hamiltonian(q)), k).shape
        except (TypeError, ValueError, IndexError, jax.errors.JAXTypeError) as error:
            raise ModelError(
                f"hamiltonian(k) could not be traced by JAX for k of shape {k.shape}: {_first_line(error)}"
            ) from error
        if len(shape) != 2 or shape[0] != shape[1]:
            raise ModelError(f"hamiltonian(k) returned shape {shape}; it must be (n, n).")
        self._size = shape[0]
        self.spin = spin_matrices(spin, shape[0])
        h = known_array("hamiltonian(k)", hamiltonian(k), complex)
        if is_traced(h):
            return
        error = np.max(np.abs(h - h.conj().T))
        if not error <= 1e-9 * max(1.0, float(np.max(np.abs(h)))):
            raise ModelError(f"hamiltonian(k) is not Hermitian at k = {np.round(k, 4)} Å⁻¹: off by {error:.2g} eV.")

    def _described(self) -> tuple[str, ...]:
        box = " × ".join(f"({lo:g}, {hi:g})" for lo, hi in self.box)
        return (f"k in {box} Å⁻¹{', and beyond' if self.unbounded else ''}",)

    @property
    def dimension(self):
        return len(self.box)

    @property
    def size(self):
        return self._size

    @property
    def zone(self):
        return self.box

    @property
    def basis(self):
        return jnp.eye(self.dimension, 3)

    @property
    def dual(self):
        return jnp.eye(self.dimension, 3)

    @property
    def measure(self):
        return jnp.asarray((2 * jnp.pi) ** -self.dimension)

    @property
    def state_volume(self):
        return jnp.ones(())

    @jittable
    def hamiltonian(self, k: KPoint) -> Matrix:
        return jnp.asarray(self.function(jnp.asarray(k, float)), complex)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
