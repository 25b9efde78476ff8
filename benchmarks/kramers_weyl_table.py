"""Accuracy against evaluations of H: tetragonal Kramers–Weyl lattice, tensor ∫ m_a v_b δ(ε−μ).

    python benchmarks/kramers_weyl_table.py

RMS over random shifts of the relative error of the largest component, one shift (replica) each. The
reference is lines at n = 128, whose own standard error is below 1e-9. ``dense`` is every point of a
uniform grid (no search), Methfessel–Paxton, best of four widths: what a plain code does.
"""

from __future__ import annotations

import numpy as np
from record import save

import jaxkin as jk
from jaxkin.hamiltonian.spectrum import Spectrum
from jaxkin.surface.grid import SMEARINGS

LEVEL, SEEDS = -1.6, 8


def tensor(surface: jk.Surface) -> jk.Estimate:
    return surface.integrate(surface.orbital_moment[:, :, None] * surface.velocity[:, None, :])


def rms(values: list[np.ndarray], reference: np.ndarray) -> float:
    return float(np.sqrt(np.mean([(np.abs(v - reference).max() / np.abs(reference).max()) ** 2 for v in values])))


def dense(model: jk.TightBinding, n: int, width: float, shift: np.ndarray) -> np.ndarray:
    """Smeared sum over every point of an n³ grid."""
    delta, reach = SMEARINGS["mp1"]
    k = (np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) + shift) / n
    x = (Spectrum(model)(k) - LEVEL) / width
    point, band = np.nonzero(np.abs(x) < reach)
    geometry = jk.band_geometry(model, k[point], band)
    weight = delta(x[point, band]) / width / n**3 / float(model.cell_volume)
    return (np.asarray(geometry.orbital_moment) * weight[:, None]).T @ np.asarray(geometry.velocity)


def main() -> None:
    model = jk.models.get("kramers-weyl-d4")
    converged = tensor(jk.fermi_surface(model, LEVEL, sampler=jk.Lines(128), replicas=4))
    reference = converged.mean
    rows = []

    def add(method: str, evaluations: int, points: int, error: float) -> None:
        rows.append({"method": method, "evaluations": evaluations, "points": points, "rms_relative_error": error})
        print(f"{method:28s} {evaluations:10.2e} {points:9d} {error:10.2e}", flush=True)

    print(f"{'method':28s} {'H(k)':>10s} {'points':>9s} {'error':>10s}")
    for n in (64, 128):
        rng = np.random.default_rng(n)
        shifts = rng.random((3, 3))
        errors = {w: rms([dense(model, n, w, s) for s in shifts], reference) for w in (0.02, 0.04, 0.08, 0.16)}
        best = min(errors, key=errors.__getitem__)
        add(f"dense grid {n}^3, mp1 {best} eV", n**3, n**3, errors[best])
    samplers = [jk.Grid(32), jk.Grid(64)]
    samplers += [jk.Lines(n, p) for n, p in ((16, 6), (32, 6), (32, 8), (64, 6), (64, 8))]
    for sampler in samplers:
        surfaces = [jk.fermi_surface(model, LEVEL, sampler=sampler, replicas=1, seed=s) for s in range(SEEDS)]
        name = (
            f"lines n={sampler.n} p={sampler.power}"
            if isinstance(sampler, jk.Lines)
            else f"near-surface grid {sampler.n}"
        )
        error = rms([tensor(s).mean for s in surfaces], reference)
        add(name, surfaces[0].evaluations, len(surfaces[0]), error)
    print(save("kramers_weyl_table", rows, reference_stderr=float(converged.stderr.max() / np.abs(reference).max())))


if __name__ == "__main__":
    main()
