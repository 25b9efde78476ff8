"""Can a measurement tell skew scattering from the band's own moment? p-type tellurium at 77 K, fitted.

The sample is the paper's estimate, Eqs. (88)-(90), as `tellurium_77K.py` has it: one valley, m* = 0.1 m₀, β = 2.4 eV Å,
Δ = 126 meV, τ = 0.6 ps, τ/τ_sk = 10⁻², for which the kinetic moment is 1.3 times the intrinsic one. "Measured" are

1. the magnetization of a static current, and the conductivity from 0.1 to 3 THz, to 2 % of the largest;
2. besides, rotation and dichroism from 0.1 to 3 THz, likewise.

Each set is fitted with τ, τ_sk and a factor on the intrinsic moment (its spin part is what the model is least sure of).
The first set knows τ but leaves τ_sk and the factor on one line, and the fit says so and at which frequency to
measure. With the spectra both are known, and the ratio that the paper estimates has an error bar.
"""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np

import jaxkin as jk
from jaxkin.output.uncertainty import with_uncertainty

TEMPERATURE, MASS, BETA, DELTA = 77.0, 0.1, 2.4, 0.126  # K, m₀, eV Å, eV
TRUTH = {"tau": 0.6, "tau_skew": 60.0, "moment_scale": 1.0}  # ps, ps
NOISE = 0.02
CURRENT = np.linspace(1e5, 1e6, 10)  # A/m²
FREQUENCY = np.geomspace(0.1, 3.0, 25)  # THz


def sample() -> jk.Table:
    """The valley's surface integrals at 77 K, gathered once."""
    mass_term = jk.units.HBAR2_OVER_2M / MASS

    def hamiltonian(k):
        shift, split = -mass_term * (k @ k), BETA * k[2]
        return jnp.array([[shift + split, DELTA], [DELTA, shift - split]])

    spin = np.zeros((3, 2, 2))
    spin[2] = np.diag([1.0, -1.0])
    model = jk.KdotP(hamiltonian, ((-0.15, 0.15),) * 3, spin=spin)
    surface = jk.fermi_surface(model, DELTA + 0.02, TEMPERATURE, jk.Lines(n=10), replicas=4)
    return jk.tabulate(surface, jk.RelaxationTime(TRUTH["tau"], TRUTH["tau_skew"], direction="momentum"))


def measured(problem: jk.FitProblem, rng: np.random.Generator) -> dict[str, jk.Data]:
    """What the true parameters give, with noise."""
    conditions = {
        "conductivity": {"frequency": FREQUENCY},
        "magnetization": {"current_density": CURRENT},
        "rotation": {"frequency": FREQUENCY},
        "dichroism": {"frequency": FREQUENCY},
    }
    sets = {}
    for quantity, where in conditions.items():
        exact = problem.predict(TRUTH, jk.Data(quantity, 0.0, 1.0, **where))
        error = NOISE * np.abs(exact).max()
        sets[quantity] = jk.Data(quantity, exact + error * rng.standard_normal(len(exact)), error, **where)
    return sets


def kinetic_over_intrinsic(result: jk.FitResult) -> tuple[float, float]:
    """|χ_sk/χ_int| for E ∥ z with its standard error from the fit's covariance and the integrals' replicas."""
    table = result.problem.table

    def ratio(coordinates: np.ndarray) -> np.ndarray:
        values = result.problem.in_table(jnp.asarray(coordinates))
        values = {name: value for name, value in values.items() if name != "tau_skew"}  # 1/τ_sk is there
        g = {name: np.asarray(part)[:, 0] for name, part in table.gyrotropic(values, [0.0]).items()}
        chi = {
            name: (part - 0.5 * np.trace(part, axis1=1, axis2=2)[:, None, None] * np.eye(3)) for name, part in g.items()
        }
        return np.abs(chi["skew"][:, 2, 2] / chi["intrinsic"][:, 2, 2])

    u = result.coordinates
    here = ratio(u)
    slope = []
    for k, error in enumerate(np.sqrt(np.diag(result.covariance))):
        step = 0.01 * error * (np.arange(len(u)) == k)
        slope.append((ratio(u + step).mean() - ratio(u - step).mean()) / (0.02 * error))
    variance = np.array(slope) @ result.covariance @ np.array(slope) + here.var(ddof=1) / len(here)
    return float(here.mean()), float(np.sqrt(variance))


def main(folder: str | None = None) -> dict[str, float]:
    """Fit both sets, print what they tell; pictures into ``folder``."""
    parameters = [jk.Parameter("tau", 1.0), jk.Parameter("tau_skew", 100.0), "moment_scale"]
    problem = jk.FitProblem(sample(), parameters)
    sets = measured(problem, np.random.default_rng(0))
    static = jk.fit(problem, [sets["conductivity"], sets["magnetization"]])
    full = jk.fit(problem, list(sets.values()))
    candidates = [
        jk.Data(q, 0.0, float(sets[q].error[0]), np.geomspace(0.02, 10.0, 80)) for q in ("rotation", "dichroism")
    ]
    plan = jk.design(full, candidates, "tau_skew", count=3)

    print(f"p-Te at {TEMPERATURE:g} K; true values: {', '.join(f'{k} = {v:g}' for k, v in TRUTH.items())}")
    for title, result in (("magnetization and conductivity", static), ("with rotation and dichroism", full)):
        print(f"\n{title}: chi2 = {result.chi2:.3g} for {result.degrees_of_freedom}, converged: {result.converged}")
        for name in result.names:
            free = result.undetermined[result.index(name)]
            shown = "not determined" if free else with_uncertainty(result.values[name], result.errors[name])
            print(f"  {name:>14} = {shown} {'' if free else result.units[name].replace('1', '')}")
        for line in result.doubts.lines:
            print(f"  * {line}")
    ratio, error = kinetic_over_intrinsic(full)
    print(f"\nm_kin/m_int = {with_uncertainty(ratio, error)}, the paper: 0.1-1 for tau/tau_sk = 1e-3 to 1e-2")
    print("\nnext points for tau_skew:")
    for row in plan.rows():
        print(
            f"  {row['quantity']:>10} at {row['frequency']:.3g} THz: error falls to {100 * row['error_over_now']:.1f} %"
        )
    if folder is not None:
        from jaxkin.fitting import pictures

        for name, figure in (
            ("fit", pictures.draw_fit(full)),
            ("profile", pictures.draw_profile(full.profile("tau_skew"))),
            ("design", pictures.draw_design(plan)),
        ):
            figure.savefig(Path(folder) / f"fit_tellurium_{name}.png", dpi=110)
    return {
        "static_determined": float(not static.undetermined.any() and abs(static.correlation[1, 2]) < 0.95),
        **{f"{name}_pull": float((full.values[name] - TRUTH[name]) / full.errors[name]) for name in TRUTH},
        "tau_skew_relative_error": full.errors["tau_skew"] / abs(full.values["tau_skew"]),
        "ratio": ratio,
        "ratio_error": error,
        "p_value": full.p_value,
        "best_frequency": float(plan.rows()[0]["frequency"]),
    }


if __name__ == "__main__":
    import sys

    main(*sys.argv[1:2])
