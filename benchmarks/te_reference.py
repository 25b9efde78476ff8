"""Intrinsic tensor of the te_sparse Wannier model against WannierBerri's converged values (kT = 10 meV).

    python benchmarks/te_reference.py [n ...]     # points along the steepest edge, one for each Fermi level

K_ab = ∫(dk) v_a m_b (−f⁰') in ampere. "bar" is how much the reference itself changes from a 160³ to a
240³ grid; "difference" and "stderr" are relative to the largest component.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
from record import save, shared_data

import jaxkin as jk

REPLICAS = 2


def main(*sizes: int) -> None:
    sizes = sizes or (112, 128, 176, 144)
    data = shared_data()
    if data is None:
        sys.exit("te_reference: the reference data are not here; set JAXKIN_SHARED to their folder.")
    reference = json.loads((data / "te_sparse_ref.json").read_text())
    converged, change = reference["converged_internal_kT"], reference["relative_change_160_to_240"]
    model = jk.read_wannier90(data / "te_sparse_tb.dat.gz")
    kelvin = converged["kT_eV"] / jk.units.BOLTZMANN
    # K in A: μ_B eV Å/(eV Å³) of m_a v_b, times (1/ħ), in the reference's own constants.
    ampere = 0.000121706740289 / 0.131234211982
    rows = []
    for n, level, expected, bar in zip(sizes, converged["EF_eV"], converged["K_A"], change["K_A"], strict=True):
        start = time.perf_counter()
        surface = jk.fermi_surface(model, level, kelvin, jk.Grid(n), REPLICAS)
        estimate = surface.integrate(surface.velocity[:, :, None] * surface.orbital_moment[:, None, :])
        seconds = time.perf_counter() - start
        expected = np.array(expected)
        largest = np.abs(expected).max()
        rows.append(
            {
                "fermi_level": level,
                "n": n,
                "replicas": REPLICAS,
                "difference": float(np.abs(estimate.mean * ampere - expected).max() / largest),
                "stderr": float((estimate.stderr * ampere).max() / largest),
                "bar": bar,
                "points": len(surface),
                "evaluations": surface.evaluations,
                "seconds": seconds,
            }
        )
        print({key: f"{value:.3g}" for key, value in rows[-1].items()}, flush=True)
    print(save("te_reference", rows))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
