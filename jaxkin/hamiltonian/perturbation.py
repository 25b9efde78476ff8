"""Eigenvalues and states whose derivatives of any order stay finite where bands are degenerate."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from jaxkin.hamiltonian.eigensystem import DEGENERACY_TOLERANCE, eigensystem


@jax.custom_jvp
def smooth_eigensystem(h: Complex[Array, "n n"]) -> tuple[Float[Array, " n"], Complex[Array, "n n"]]:
    """Ascending eigenvalues and states (columns) of a Hermitian matrix, differentiated by perturbation theory.

    dε_n = ⟨n|dH|n⟩ (Hellmann–Feynman) and d|n⟩ = Σ_m |m⟩⟨m|dH|n⟩/(ε_n − ε_m) over the m outside the degenerate
    set of n, within which dε_n is the set's mean. So sums over a set of energies, and what depends on its
    projector, have their exact derivative as long as dH does not split the set; what dH splits has no
    linear derivative one by one, only the sum of its energies has.

    >>> import jax, jax.numpy as jnp
    >>> h = lambda x: jnp.diag(jnp.array([1.0, 1.0 + 2 * x, 3.0])).astype(complex)
    >>> [round(float(slope), 12) for slope in jax.jacfwd(lambda x: smooth_eigensystem(h(x))[0])(0.0)]
    [1.0, 1.0, 0.0]
    """
    if len(h) == 2:  # in closed form
        return eigensystem(h)
    return jax.lax.platform_dependent(h, cpu=_one_by_one, default=eigensystem)


@jax.custom_batching.sequential_vmap
def _one_by_one(h: Complex[Array, "n n"]) -> tuple[Float[Array, " n"], Complex[Array, "n n"]]:
    """Two batches of LAPACK calls in one compiled function can wait for each other's threads for ever."""
    return eigensystem(h)


@smooth_eigensystem.defjvp
def _differential(primals, tangents):
    (h,), (dh,) = primals, tangents
    energies, states = smooth_eigensystem(h)
    coupling = states.conj().T @ (0.5 * (dh + dh.conj().T)) @ states
    gap = energies[None, :] - energies[:, None]  # ε_n − ε_m of ⟨m|…|n⟩
    together = jnp.abs(gap) < DEGENERACY_TOLERANCE
    mean = together / jnp.sum(together, axis=1, keepdims=True)
    mixing = jnp.where(together, 0.0, coupling / jnp.where(together, 1.0, gap))
    return (energies, states), (mean @ jnp.real(jnp.diagonal(coupling)), states @ mixing)
