"""Pulls (mean − exact)/σ over independent seeds: is the error bar honest?

    python benchmarks/honest_errors.py [seeds]

Eight replicas each; pulls are mapped to a unit normal through Student's t of 7 degrees of freedom.
Bars: |mean| < 0.15, standard deviation between 0.85 and 1.15.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from record import save
from scipy import stats

import jaxkin as jk

REPLICAS = 8


def main(seeds: int = 400) -> None:
    d4 = jk.models.get("kramers-weyl-d4")
    converged = jk.fermi_surface(d4, -1.6, sampler=jk.Lines(128), replicas=2)
    exact_d4 = converged.integrate(converged.orbital_moment[:, 2] * converged.velocity[:, 2]).mean
    sphere, level = jk.models.get("helical-isotropic"), 0.5
    exact_sphere = np.sqrt(level / jk.units.HBAR2_OVER_2M) / (4 * np.pi**2 * jk.units.HBAR2_OVER_2M)
    dirac = jk.models.get("massive-dirac-2d", velocity=1.0, mass=0.1)
    cases = [
        ("density of states of a sphere", sphere, level, 8, exact_sphere, lambda s: np.ones(len(s))),
        ("density of states of a Dirac circle", dirac, 0.3, 6, 0.3 / (2 * np.pi), lambda s: np.ones(len(s))),
        ("m_z v_z, Kramers-Weyl D4", d4, -1.6, 8, exact_d4, lambda s: s.orbital_moment[:, 2] * s.velocity[:, 2]),
    ]
    rows = []
    for name, model, mu, n, exact, values in cases:
        start, pulls, relative = time.perf_counter(), [], []
        for seed in range(seeds):
            surface = jk.fermi_surface(model, mu, sampler=jk.Lines(n), replicas=REPLICAS, seed=seed)
            estimate = surface.integrate(values(surface))
            pulls.append((estimate.mean - exact) / estimate.stderr)
            relative.append(estimate.stderr / abs(exact))
        normal = stats.norm.ppf(stats.t.cdf(pulls, REPLICAS - 1))
        rows.append(
            {
                "case": name,
                "n": n,
                "seeds": seeds,
                "mean": float(normal.mean()),
                "standard_deviation": float(normal.std()),
                "relative_stderr": float(np.mean(relative)),
                "seconds": time.perf_counter() - start,
            }
        )
        print(rows[-1], flush=True)
    print(save("honest_errors", rows))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
