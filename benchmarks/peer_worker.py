"""One tensor from WannierBerri: a job (JSON) on standard input, its result as the last line of output.

Run by ``peer.py`` with the peer's own Python, so it imports nothing of jaxkin. The seconds are those of
``wannierberri.run`` alone: no imports, no reading of the model, no starting of workers. A run
on a tiny grid of the same kind comes first and compiles what the peer compiles.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
import tempfile
import time

import numpy as np
import wannierberri as wb
from wannierberri.grid import GridTetra, GridTrigonal, GridTrigonalH


def cpu_seconds() -> float:
    return sum(
        u.ru_utime + u.ru_stime for u in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def make_grid(system, spec: dict):
    kind = spec.get("kind", "parallel")
    if kind == "parallel":
        options = {"NKFFT": spec["nkfft"]} if "nkfft" in spec else {}
        return wb.Grid(system, NK=spec["nk"], **options)
    maker = {"tetra": GridTetra, "trigonal": GridTrigonal, "trigonal-h": GridTrigonalH}[kind]
    return maker(system, **{k: v for k, v in spec.items() if k != "kind"})


def main() -> None:
    job = json.load(sys.stdin)
    out, sys.stdout = sys.stdout, sys.stderr
    logging.disable(logging.CRITICAL)
    system = wb.System_R.from_tb_dat(tb_file=job["tb_file"], force_internal_terms_only=True, silent=True)
    system.set_pointgroup(job.get("symmetry", []))
    forms = {"surface": wb.calculators.static.GME_orb_FermiSurf, "sea": wb.calculators.static.GME_orb_FermiSea}
    workers = job.get("workers", 1)
    if workers > 1:
        wb.parallel.ray_init(num_cpus=workers, include_dashboard=False, log_to_driver=False, ignore_missing=False)

    count = 0

    class Counted(forms[job["form"]]):
        """The peer's calculator, counting the k it sees (in this process)."""

        def __call__(self, data_K):
            nonlocal count
            count += int(data_K.nk)
            return super().__call__(data_K)

    def calculators() -> dict:
        return {
            "K": (Counted if workers == 1 else forms[job["form"]])(
                Efermi=np.array(job["fermi_levels"]),
                tetra=job["tetra"],
                **job.get("options", {}),
                kwargs_formula={"external_terms": False},
            )
        }

    def run(spec: dict, iterations: int):
        grid = make_grid(system, spec)
        start, cpu = time.perf_counter(), cpu_seconds()
        result = wb.run(
            system,
            grid,
            calculators(),
            adpt_num_iter=iterations,
            adpt_fac=job.get("adpt_fac", 1),
            parallel=workers > 1,
            use_irred_kpt=spec.get("kind", "parallel") == "parallel",
            symmetrize=True,
            fout_name="K",
        )
        return result.results["K"].data, time.perf_counter() - start, cpu_seconds() - cpu, grid

    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        if job.get("warm", True):
            run(job.get("warm_grid", {"nk": 12}), 0)
        count = 0
        data, seconds, cpu, grid = run(job["grid"], job.get("adpt_num_iter", 0))
        os.chdir("/")
    facts = {"dense": [int(x) for x in grid.dense]} if hasattr(grid, "dense") else {"tetrahedra": len(grid.K_list)}
    if workers > 1:
        wb.parallel.ray_shutdown()
    answer = {
        "K": data.tolist(),
        "seconds": seconds,
        "cpu_seconds": cpu,
        "k_points": count,
        "version": wb.__version__,
        **facts,
    }
    print(json.dumps(answer), file=out)


if __name__ == "__main__":
    main()
