"""What a derivative through the exact collision operator costs: reverse mode, one shell of many points.

    python benchmarks/gradients.py [points]     # 20,000 points by default

Skew part of g_zz of a Kramers–Weyl D4 metal with a point impurity (third order), exact solver, by μ, four hoppings, V
and n at once. The peak is that of the whole process; forward mode along one direction is its check.
"""

from __future__ import annotations

import resource
import sys
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from record import save

import jaxkin as jk

LEVEL = -1.2
D4 = {"hopping": 0.5, "hopping_z": 0.35, "spin_orbit": 0.4, "spin_orbit_z": 0.25}


def main(points: int = 20_000) -> None:
    units = [jk.models.get("kramers-weyl-d4", **{other: float(other == name) for other in D4}) for name in D4]
    hoppings = jnp.stack([one.hoppings for one in units])
    start = jnp.array([LEVEL, *D4.values(), 1.0, 0.01])

    def build(numbers):
        return eqx.tree_at(lambda m: m.hoppings, units[0], jnp.tensordot(numbers, hoppings, axes=1))

    surface = jk.fermi_surface(build(start[1:5]), LEVEL, sampler=jk.Lines(round(8 * np.sqrt(points / 443))), replicas=1)

    def skew(x):
        impurity = jk.PointImpurity(
            x[5] * jnp.array([[1.0, 0.3 - 0.2j], [0.3 + 0.2j, 2.0]]), [0, 1], x[6], order="third"
        )
        there = surface.at(model=build(x[1:5]), fermi_level=x[0])
        return jk.gyrotropic_response(there, impurity, solver="exact").g["skew"].mean[0, 2, 2].imag

    begin = time.perf_counter()
    reverse = jax.jit(jax.value_and_grad(skew))
    value, slopes = reverse(start)
    first = time.perf_counter() - begin
    begin, cpu = time.perf_counter(), time.process_time()
    jax.block_until_ready(reverse(start))
    row = {
        "points": len(surface),
        "seconds": time.perf_counter() - begin,
        "cpu_seconds": time.process_time() - cpu,
        "first_seconds": first,
        "peak_memory_GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }
    direction = start * np.random.default_rng(0).normal(size=len(start))
    _, forward = jax.jit(lambda x, v: jax.jvp(skew, (x,), (v,)))(start, direction)
    row |= {"value": float(value), "forward": float(forward), "reverse": float(slopes @ direction)}
    print(row)
    print(save("gradients", [row]))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
