"""Many Hermitian matrices at once: the solver that is fastest on the machine at hand, checked where it may fail.

On a CPU the work goes to NumPy's LAPACK, one batch per core with one LAPACK thread each: LAPACK's own
threads on small matrices fight XLA's, and XLA's batched solver uses one core. Two bands have a closed form.
On an accelerator XLA's solver is used and its result is checked: some return NaN for matrices that LAPACK
has no trouble with. What fails is done again by LAPACK.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

from jaxkin.errors import JaxkinError
from jaxkin.hamiltonian.eigensystem import eigensystem, eigenvalues
from jaxkin.hamiltonian.tiles import filled
from jaxkin.threads import in_threads

UNSOLVED = (
    "{failed} of {count} Hamiltonians could not be diagonalised {where}: does H(k) hold NaN or infinity somewhere?"
)
SLOW = range(18, 26)
"""Sizes up to LAPACK's 25 have complex states rotated by QR sweeps: n = 24 takes 76 µs, and 55 as a part of 26."""
ABOVE = 1.01
"""Of the largest sum of a row's sizes, which is no less than the largest eigenvalue."""
EXACT = 1e-10
"""Of the matrix's largest element: HU = Uε and U†U = 1 hold to 1e-14 where a solver works."""


def batched_eigensystems(
    h: Complex[Array, "N n n"], count: int | None = None
) -> tuple[Float[Array, "N n"], Complex[Array, "N n n"]]:
    """Ascending eigenvalues and eigenvectors (columns) of N Hermitian matrices; those after ``count`` fill a bucket up.

    Raises:
        JaxkinError: matrices that neither the accelerator nor LAPACK can diagonalise.
    """
    if h.shape[-1] == 2:
        return _solver(h)
    if jax.default_backend() == "cpu":
        try:
            energies, states = in_threads(_eigh, np.asarray(h)[:count])
        except np.linalg.LinAlgError:
            raise JaxkinError(UNSOLVED.format(failed="Some", count=len(h), where="by LAPACK")) from None
        return jnp.asarray(filled(energies, len(h))), jnp.asarray(filled(states, len(h)))
    return _checked(h)


def batched_eigenvalues(h: Complex[Array, "N n n"], count: int | None = None) -> Float[np.ndarray, "N n"]:
    """Ascending eigenvalues of the first ``count`` of N Hermitian matrices; raises as :func:`batched_eigensystems`."""
    if h.shape[-1] == 2:
        return np.asarray(_closed_values(h))[:count]
    if jax.default_backend() == "cpu":
        return in_threads(lambda part: (np.linalg.eigvalsh(part),), np.asarray(h)[:count])[0]
    return np.asarray(_checked(h)[0])[:count]


def _eigh(h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of matrices whose size ``SLOW`` holds by a divide-and-conquer, as bands of a larger matrix with others above."""
    n = h.shape[-1]
    if n not in SLOW:
        return np.linalg.eigh(h)
    larger, above = np.zeros((len(h), SLOW.stop, SLOW.stop), complex), np.arange(n, SLOW.stop)
    larger[:, :n, :n] = h
    larger[:, above, above] = ABOVE * np.abs(h).sum(axis=2).max(axis=1, initial=0.0)[:, None] + np.finfo(float).tiny
    energies, states = np.linalg.eigh(larger)
    return energies[:, :n], states[:, :n, :n]


def _checked(h: Array) -> tuple[Array, Array]:
    """What the accelerator finds; LAPACK's results where that does not solve HU = Uε."""
    energies, states = _solver(h)
    wrong = np.flatnonzero(~np.asarray(_solves(h, energies, states)))
    if not len(wrong):
        return energies, states
    again = np.asarray(h)[wrong]
    try:
        values, vectors = in_threads(_eigh, again)
        failed = int(np.sum(~np.asarray(_solves(again, values, vectors))))
    except np.linalg.LinAlgError:
        failed = len(wrong)
    if failed:
        where = "neither on the accelerator nor by LAPACK"
        raise JaxkinError(UNSOLVED.format(failed=failed, count=len(h), where=where))
    return energies.at[wrong].set(values), states.at[wrong].set(vectors)


_solver = jax.jit(jax.vmap(eigensystem))
_closed_values = jax.jit(jax.vmap(eigenvalues))


@jax.jit
def _solves(h: Array | np.ndarray, energies: Array | np.ndarray, states: Array | np.ndarray) -> Bool[Array, " N"]:
    """Whether HU = Uε and U†U = 1; false for NaN."""

    def one(h: Array, energies: Array, states: Array) -> Array:
        residual = jnp.max(jnp.abs(h @ states - states * energies))
        overlap = jnp.max(jnp.abs(states.conj().T @ states - jnp.eye(len(h))))
        return (residual <= EXACT * jnp.max(jnp.abs(h))) & (overlap <= EXACT)

    return jax.vmap(one)(*map(jnp.asarray, (h, energies, states)))
