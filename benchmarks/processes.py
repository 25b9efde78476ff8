"""The main job on the built-in tellurium by one process and by several, one for each device: the same answer.

python benchmarks/processes.py N COUNT        # lines per direction, processes (at most 8, as many as replicas)
"""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
from record import save

SAME = 1e-9
"""Relative change of g that is asserted; measured on CPUs: 4e-16."""


def main(n: int, most: int) -> None:
    rows, tensors = [], []
    for processes in sorted({1, min(most, 8)}):
        command = [sys.executable, "-m", "jaxkin", "run", "tellurium", "--json", "--processes", str(processes)]
        done = subprocess.run([*command, "--set", f"n={n}"], stdout=subprocess.PIPE, text=True, check=True)
        result = json.loads(done.stdout)
        tensors.append(np.array(result["g"]["total"]))
        change = float(np.abs(tensors[-1] - tensors[0]).max() / np.abs(tensors[0]).max())
        kept = {key: result[key] for key in ("seconds", "surface_points", "evaluations")}
        rows.append({"processes": processes, "change": change, **kept})
        print(rows[-1], flush=True)
        if not change < SAME:
            sys.exit(f"g of {processes} processes differs by {change:.1e} from that of one.")
    print(save("processes", rows, n=n, model="tellurium"))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
