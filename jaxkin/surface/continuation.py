"""H and its covariant derivative at complex k, in the gauge that is periodic in k.

H̃ = e^{ik·τ} H e^{−ik·τ} drops the orbital positions τ from the phases of a crystal's H, so that a
displacement of k that is periodic gives an integrand that is periodic. Everything is analytic in k: no
complex conjugates.
"""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.kdotp import KdotP
from jaxkin.hamiltonian.tight_binding import TightBinding

ANALYTIC = 1e-10
"""Largest violation of the Cauchy-Riemann equations that is rounding, relative."""
_NEXT, _PREVIOUS = np.array([1, 2, 0]), np.array([2, 0, 1])


def is_analytic(model: BlochModel) -> bool:
    """Whether :func:`continued` is an analytic function of complex k: yes in a crystal, tried out in a k·p model.

    A k·p function that takes a conjugate or an absolute value of k is none; write k_x + i k_y for the
    conjugate of k_x − i k_y.
    """
    if isinstance(model, TightBinding):
        return True
    lo, hi = np.array(model.zone).T
    rng = np.random.default_rng(0)
    k = jnp.asarray(lo + (hi - lo) * (rng.random(model.dimension) + 0.1j * rng.random(model.dimension)))
    step = jnp.asarray((hi - lo) * rng.random(model.dimension) + 0j)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a cast of k to float warns, and fails the test below
            along, across = (jax.jvp(lambda q: continued(model, q), (k,), (s,))[1] for s in (step, 1j * step))
    except (TypeError, ValueError, jax.errors.JAXTypeError):
        return False
    return bool(jnp.max(jnp.abs(across - 1j * along)) <= ANALYTIC * (1e-300 + jnp.max(jnp.abs(along))))


def continued(model: BlochModel, k: Array) -> Array:
    """H̃ at complex k, (n, n), in eV."""
    if isinstance(model, TightBinding):
        return jnp.tensordot(_phases(model, k), model.hoppings, axes=1)
    if isinstance(model, KdotP):
        return jnp.asarray(model.function(k), complex)
    return model.hamiltonian(k)  # of a user's own model: analytic if it takes complex k, see :func:`is_analytic`


def slopes(model: BlochModel, k: Array) -> Array:
    """∂H̃/∂κ_i at real or complex k, (d, n, n), along the model coordinates."""
    if isinstance(model, TightBinding):
        weighted = _phases(model, k)[:, None] * (2j * jnp.pi * model.translations)
        return jnp.tensordot(weighted.T, model.hoppings, axes=1)
    holomorphic = jnp.iscomplexobj(k)
    return jnp.moveaxis(jax.jacfwd(lambda q: continued(model, q), holomorphic=holomorphic)(k), -1, 0)


def hessian_trace(model: BlochModel, k: Array, weights: Array) -> Array:
    """Re Tr[X ∂²H̃/∂κ_i∂κ_j] at real k for a Hermitian X, (d, d)."""
    if isinstance(model, TightBinding):
        traces = _phases(model, k) * (model.hoppings.reshape(-1, model.size**2) @ weights.T.ravel())
        steps = 2 * jnp.pi * model.translations
        return -jnp.real(jnp.einsum("r,ri,rj->ij", traces, steps, steps))
    return jax.hessian(lambda q: jnp.real(jnp.sum(weights.T * continued(model, q))))(k)


def covariant_derivative(model: BlochModel, k: Array) -> tuple[Array, Array | None]:
    """D_aH̃ = ∂_aH̃ − i[r_a, H̃], (3, n, n), and the orbitals' own curvature (3, n, n) or None, Cartesian.

    r_a holds the positions of the orbitals and the position matrices beyond them. The same operators as
    ``model.derivative`` and ``model.wannier_curvature`` in the other gauge.
    """
    plain = jnp.tensordot(model.dual.T, slopes(model, k), axes=1)
    if not isinstance(model, TightBinding):
        return plain, None
    h, tau = continued(model, k), model.centres.T  # (3, n)
    offset = tau[:, None, :] - tau[:, :, None]  # −i[τ, X]_mn = i(τ_n − τ_m) X_mn
    plain = plain + 1j * offset * h
    if model.position_matrices is None:
        return plain, None
    hop = jnp.moveaxis(model.position_matrices, -1, 1)  # (R, 3, n, n)
    phases = _phases(model, k)
    r = jnp.tensordot(phases, hop, axes=1)
    steps = 1j * (model.translations @ model.lattice)  # ∂/∂k_a of the phases
    dr = jnp.tensordot((phases[:, None] * steps).T, hop, axes=1) + 1j * offset[:, None] * r  # [a, b] = D_a r_b
    curl = dr[_NEXT, _PREVIOUS] - dr[_PREVIOUS, _NEXT]
    own = curl - 1j * (r[_NEXT] @ r[_PREVIOUS] - r[_PREVIOUS] @ r[_NEXT])
    return plain - 1j * (r @ h - h @ r), own


def _phases(model: TightBinding, k: Array) -> Array:
    return jnp.exp(2j * jnp.pi * (model.translations @ k))
