"""The kernels of RelaxationTime, Eqs. (11) and (17), as functions of two states: what pairs are compared with."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np


def isotropic(tau: float) -> Callable:
    return lambda p, q: 1 / (q.density_of_states * tau)


def helical_skew(tau_skew: float, axis=(0.0, 0.0, 1.0)) -> Callable:
    z = np.array(axis)

    def kernel(p, q):
        e, f = _unit(p), _unit(q)
        return -(z @ jnp.cross(e, f)) * (z @ (e + f)) / (q.density_of_states * tau_skew)

    return kernel


def helical_shift(side_jump: float, axis=(0.0, 0.0, 1.0)) -> Callable:
    z = np.array(axis)

    def shift(p, q):
        e, f = _unit(p), _unit(q)
        return side_jump * (z @ (e + f)) * jnp.cross(z, e - f)

    return shift


def _unit(state):
    return state.velocity / jnp.linalg.norm(state.velocity)
