"""What the collision operator costs: points, frequencies, and pairwise tiles against the matrix-product rate.

    python benchmarks/disorder_costs.py [largest]     # 1000000 points by default

States are random unit vectors on d = 24 orbitals: the actions do not care where they come from.
"""

from __future__ import annotations

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from record import save

import jaxkin as jk
from jaxkin.disorder.amplitude import scattering_terms
from jaxkin.disorder.factorised import FactorisedCollisions
from jaxkin.disorder.orbital_kernels import OrbitalKernel
from jaxkin.disorder.pairs import pair_apply
from jaxkin.disorder.states import States
from jaxkin.response.shell import shell_response

ORBITALS = 24


def sample(count: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    u = rng.normal(size=(count, ORBITALS)) + 1j * rng.normal(size=(count, ORBITALS))
    u /= np.linalg.norm(u, axis=1)[:, None]
    weights, vectors = np.full(count, 1.0 / count), rng.normal(size=(count, 3))
    names = ("k", "velocity", "berry_curvature", "orbital_moment")
    states = States(
        level=np.zeros(()),
        weights=weights,
        thermal=weights,
        energy=weights,
        **dict.fromkeys(names, vectors),
        sheet=np.zeros(count, int),
        bloch=None,
        sheets=1,
    )
    rho = jnp.asarray((u.T * states.weights) @ u.conj())
    v = jnp.diag(jnp.linspace(0.5, 2.0, ORBITALS)).astype(complex)
    return states, u, scattering_terms("tmatrix", v, v, rho)


def seconds(function, *arguments) -> float:
    start = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    return time.perf_counter() - start


def product_rate(size: int = 2048) -> float:
    """Flop/s of a float64 matrix product."""
    square = jnp.ones((size, size))
    product = jax.jit(lambda a: a @ a)
    product(square).block_until_ready()
    return 2 * size**3 / min(seconds(product, square) for _ in range(5))


@jax.jit
def apply(u, slope, terms, states, x):
    return FactorisedCollisions(states, u, slope, terms, 0.01).symmetric(x)


@jax.jit
def solve(u, slope, terms, states, omega):
    c = FactorisedCollisions(states, u, slope, terms, 0.01)
    return shell_response(c, None, states.weights, states.velocity, omega, "exact").gyrotropic


def main(largest: int = 1_000_000) -> None:
    jk.models.get("kramers-weyl-o")  # 64-bit mode
    rows = []
    for count in (largest // 100, largest // 10, largest):
        states, u, terms = sample(count)
        arguments = jax.device_put((u, np.zeros((count, 3, 0), complex), terms, states, states.velocity))
        seconds(apply, *arguments)
        elapsed = min(seconds(apply, *arguments) for _ in range(5))
        # two real products with (2d)² numbers for each of three columns
        floor = 2 * 2 * count * (2 * ORBITALS) ** 2 * 3 / product_rate()
        rows.append({"points": count, "seconds_per_apply": elapsed, "floor_seconds": floor, "ratio": elapsed / floor})
        print(rows[-1])
    states, u, terms = sample(20_000)
    timings = {}
    for count in (1, 1000):
        arguments = (u, np.zeros((20_000, 3, ORBITALS), complex), terms, states, np.linspace(0, 10, count))
        seconds(solve, *arguments)
        timings[count] = seconds(solve, *arguments)
    print("one and 1000 frequencies", timings)
    count = 8192
    local = jnp.asarray(u[:count])
    kernel = OrbitalKernel(terms.antisymmetric, 1.0)
    x = states.velocity[:count]
    pairs = lambda: pair_apply(kernel, (local,), states.weights[:count], x)  # noqa: E731
    pairs()
    tiles = min(seconds(pairs) for _ in range(5))
    rate = product_rate()
    # two complex amplitudes of d terms, and the product with three columns and the sum of sizes
    floor = count**2 * (2 * 8 * ORBITALS + 8) / rate
    print(f"tiles {tiles:.2f} s, floor {floor:.2f} s at {rate / 1e9:.0f} Gflop/s: {floor / tiles:.2f}")
    path = save(
        "disorder_costs",
        rows,
        frequencies={str(k): v for k, v in timings.items()},
        pairwise={"states": count, "seconds": tiles, "floor_seconds": floor, "gemm_flops": rate},
    )
    print(path)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
