"""Screened Coulomb on a shell of 10⁵ points: seconds, peak memory, rank.

python benchmarks/finite_range_at_scale.py [n] [solver] [theory]
"""

import json
import resource
import sys
import time

import numpy as np

import jaxkin as jk


def main(n: int = 112, solver: str = "rta", theory: str = "complete") -> None:
    """Built-in tellurium, holes 20 meV deep, charges that are screened over 10 Å."""
    surface = jk.fermi_surface(jk.models.get("tellurium"), -0.02, sampler=jk.Lines(n=n), replicas=1)
    charges = jk.FiniteRangeImpurity(jk.ScreenedCoulomb(20.0, 10.0, core=2.0), 1.0, 1e-6, rtol=1e-6)
    start, used = time.perf_counter(), time.process_time()
    rank = charges.on(surface).pivots[0].rank
    chosen = time.perf_counter() - start
    response = jk.gyrotropic_response(surface, charges, [0.0, 1.0], solver, theory=theory)
    record = {
        "points": len(surface),
        "rank": rank,
        "solver": solver,
        "theory": theory,
        "seconds of pivots": round(chosen, 1),
        "seconds": round(time.perf_counter() - start, 1),
        "processor seconds": round(time.process_time() - used, 1),
        "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "flux": float(response.quality.flux),
        "optical theorem": float(response.quality.optical_theorem),
        "g": {name: float(np.abs(part.mean).max()) for name, part in response.g.items()},
    }
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main(*(kind(text) for kind, text in zip((int, str, str), sys.argv[1:], strict=False)))
