"""The double p, p' integral: pairs per second and peak memory.

    python benchmarks/pairs.py [states]     # 100000 by default: 10¹⁰ pairs

The bar is 2 GB for 10⁵ × 10⁵ pairs.
"""

from __future__ import annotations

import resource
import sys
import time

import jax.numpy as jnp
import numpy as np
from record import save

import jaxkin as jk
from jaxkin.disorder.states import ShellStates


def main(count: int = 100_000) -> None:
    model = jk.models.get("helical-isotropic")
    n = int(np.ceil(np.sqrt(count / 3.5)))
    surface = jk.fermi_surface(model, 0.5, sampler=jk.Lines(n), replicas=1)
    states, weights = ShellStates(surface, bloch=False).of(surface.shells[0]).state, surface.level_weight

    def q(p, other):
        """The integrand of Q with the kernel of Eq. (11), τ_sk = 100 ps."""
        e, f = (one.velocity / jnp.linalg.norm(one.velocity) for one in (p, other))
        kernel = -jnp.cross(e, f)[2] * (e + f)[2] / (100.0 * other.density_of_states)
        return kernel * (other.velocity - p.velocity)

    start = time.perf_counter()
    result = jk.pair_integral(q, states, weights)
    seconds = time.perf_counter() - start
    e = surface.velocity / np.linalg.norm(surface.velocity, axis=1)[:, None]
    speed = np.linalg.norm(surface.velocity, axis=1)[:, None]
    exact = -speed / 300 * e[:, 2:] * np.cross([0, 0, 1], e)
    row = {
        "states": len(weights),
        "pairs": len(weights) ** 2,
        "seconds": seconds,
        "pairs_per_second": len(weights) ** 2 / seconds,
        "peak_memory_GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "relative_error": float(np.abs(result - exact).max() / np.abs(exact).max()),
    }
    print(row)
    print(save("pairs", [row]))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
