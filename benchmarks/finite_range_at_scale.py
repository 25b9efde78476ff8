"""Charges that are screened over 10 Å in built-in tellurium, up to 10⁵ points of a shell: seconds, peak memory, rank.

    python benchmarks/finite_range_at_scale.py [lines ...]     # 40 and 112: 13,000 and 100,000 points

The bar is 4 GiB and ten minutes on two cores for 10⁵ points with every mechanism. Each size is a process of its own, so
that the peak (the resident size of all of it) is its own; the surface is sampled before the clock starts.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

import numpy as np
from record import save

import jaxkin as jk
from jaxkin.memory import memory_limit


def measured(n: int) -> dict:
    """All of it with ``n`` lines in each direction, at −20 meV."""
    with memory_limit("4 GiB"):
        surface = jk.fermi_surface(jk.models.get("tellurium"), -0.02, sampler=jk.Lines(n=n), replicas=1)
        charges = jk.FiniteRangeImpurity(jk.ScreenedCoulomb(20.0, 10.0, core=2.0), 1.0, 1e-6, rtol=1e-6)
        start, used = time.perf_counter(), time.process_time()
        rank = charges.on(surface).pivots[0].rank
        chosen = time.perf_counter() - start
        response = jk.gyrotropic_response(surface, charges, [0.0, 1.0])
        return {
            "points": len(surface),
            "rank": rank,
            "seconds_of_pivots": chosen,
            "seconds": time.perf_counter() - start,
            "processor_seconds": time.process_time() - used,
            "peak_GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
            "flux": float(response.quality.flux),
            "optical_theorem": float(response.quality.optical_theorem),
            "g_over_total": {
                name: float(np.abs(part.mean).max() / np.abs(response.g["total"].mean).max())
                for name, part in response.g.items()
            },
        }


def main(*sizes: int) -> None:
    rows = []
    for n in sizes or (40, 112):
        done = subprocess.run([sys.executable, __file__, "--one", str(n)], capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    print(save("finite_range_at_scale", rows, rtol=1e-6))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measured(int(sys.argv[2]))))
    else:
        main(*map(int, sys.argv[1:]))
