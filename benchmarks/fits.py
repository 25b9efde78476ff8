"""Fits: time of one, of many starts, and against scipy's least_squares with finite differences.

    python benchmarks/fits.py

1,000 points (rotation, dichroism and conductivity at 77 K against frequency), five parameters: τ, τ_sk, a_sj, the scale
of the intrinsic moment and the Fermi level. The same compiled prediction serves both fitters, in turns, after one run
for compilation. Then coverage: over 200 synthetic spectra for each noise and number of starts, how often the true τ,
τ_sk, a_sj and scale lie within the 68 % and 95 % intervals; every mechanism is 0.3 to 3 times the intrinsic one.
"""

from __future__ import annotations

import time

import jax
import numpy as np
import record
from scipy.optimize import least_squares

import jaxkin as jk
from jaxkin.fitting.parameters import from_free, to_free
from jaxkin.fitting.problem import Points
from jaxkin.fitting.solve import STARTS

COVERAGE = ((0.005, 60, None), (0.01, 40, None), (0.01, 40, 3), (0.03, 40, None))
"""Noise over the largest |ρ|, frequencies, starts (None: as many as the default)."""
STUDIES, LEVELS = 200, (0.6827, 0.95)
TRUTH = {"tau": 0.7, "tau_skew": 8000.0, "side_jump": 0.2, "moment_scale": 1.1, "fermi_level": -1.595}
NOISE, ROUNDS = 0.01, 5


def study() -> tuple[jk.FitProblem, list[jk.Data]]:
    model = jk.models.get("kramers-weyl-d4")
    surface = jk.fermi_surface(model, -1.6, 77.0, jk.Lines(n=12), replicas=4)
    table = jk.tabulate(surface, jk.RelaxationTime(1.0, 5000.0, 0.1))
    parameters = [
        jk.Parameter("tau", 1.0),
        jk.Parameter("tau_skew", 5000.0),
        jk.Parameter("side_jump", 0.1),
        "moment_scale",
        jk.Parameter("fermi_level", -1.6, bounds=(-1.63, -1.57)),
    ]
    problem = jk.FitProblem(table, parameters)
    frequency = np.geomspace(0.02, 5.0, 400)
    where = {
        "rotation": {"frequency": frequency},
        "dichroism": {"frequency": frequency},
        "conductivity": {"frequency": np.linspace(0, 1.0, 200)},
    }
    rng, data = np.random.default_rng(0), []
    for quantity, condition in where.items():
        exact = problem.predict(TRUTH, jk.Data(quantity, 0.0, 1.0, **condition))
        error = NOISE * np.abs(exact).max()
        data.append(jk.Data(quantity, exact + error * rng.standard_normal(len(exact)), error, **condition))
    return problem, data


def timed(function) -> tuple[float, float, object]:
    """Wall-clock and processor seconds, and the value."""
    wall, cpu = time.perf_counter(), time.process_time()
    value = function()
    return time.perf_counter() - wall, time.process_time() - cpu, value


def compiled(problem: jk.FitProblem, points: tuple[Points, ...]):
    """The residuals by the same unbounded coordinates that our fit moves in, as one compiled NumPy function."""
    function = jax.jit(lambda free: problem.residuals(from_free(problem.parameters, free), points))
    return lambda free: np.asarray(function(free))


def scipy_fit(problem: jk.FitProblem, residuals):
    """least_squares with its default 2-point differences, from the same start."""
    start, calls = to_free(problem.parameters, problem.start_coordinates), 0

    def counted(free: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        return residuals(free)

    solution = least_squares(counted, start, x_scale="jac", ftol=1e-9, xtol=1e-9, gtol=1e-9)
    return 2 * float(solution.cost), calls


def without_table(problem: jk.FitProblem, data: list[jk.Data]) -> float:
    """Seconds of one prediction from the surface itself."""
    surface = jk.fermi_surface(jk.models.get("kramers-weyl-d4"), -1.6, 77.0, jk.Lines(n=12), replicas=4)
    disorder = jk.RelaxationTime(TRUTH["tau"], TRUTH["tau_skew"], TRUTH["side_jump"])
    frequency = np.concatenate([one.frequency for one in data])
    return timed(lambda: jk.gyrotropic_response(surface, disorder, frequency))[1]


def drawn(rng: np.random.Generator, skew: float, jump: float) -> dict[str, float]:
    """Random parameters; ``skew`` and ``jump`` are those for which a mechanism equals the intrinsic one at τ = 1 ps."""
    tau, sign = np.exp(rng.uniform(np.log(0.3), np.log(2.0))), rng.choice([-1, 1], 2)
    ratio = np.exp(rng.uniform(np.log(0.3), np.log(3.0), 2))
    values = (tau, sign[0] * tau**2 * skew / ratio[0], sign[1] * ratio[1] * jump, rng.uniform(0.5, 2.0))
    return dict(zip(("tau", "tau_skew", "side_jump", "moment_scale"), map(float, values), strict=True))


def covered(interval: tuple[float, float], value: float) -> bool:
    """Through infinity where the first end is above the second."""
    low, high = interval
    return low <= value <= high if low <= high else value >= low or value <= high


def coverage() -> list[dict]:
    surface = jk.fermi_surface(jk.models.get("kramers-weyl-d4"), -1.6, sampler=jk.Lines(n=20), replicas=2)
    table = jk.tabulate(surface, jk.RelaxationTime(1.0, 1.0, 1.0))
    size = {name: abs(complex(np.mean(g, axis=0)[0, 2, 2])) for name, g in table.gyrotropic({}, [0.0]).items()}
    skew, jump = size["skew"] / size["intrinsic"], size["intrinsic"] / size["side_jump"]
    parameters = [jk.Parameter("tau", 0.7), jk.Parameter("tau_skew", skew), jk.Parameter("side_jump", jump)]
    problem = jk.FitProblem(table, [*parameters, "moment_scale"])
    rows = []
    for noise, count, starts in COVERAGE:
        frequency, rng = np.geomspace(0.02, 5.0, count), np.random.default_rng(3)
        hits, wrong, lists, seconds = {(name, level): 0 for name in problem.start for level in LEVELS}, 0, 0, 0.0
        for number in range(STUDIES):
            truth, data = drawn(rng, skew, jump), []
            for quantity in ("rotation", "dichroism"):
                exact = problem.predict(truth, jk.Data(quantity, 0.0, 1.0, frequency))
                error = noise * np.abs(exact).max()
                data.append(jk.Data(quantity, exact + error * rng.standard_normal(count), error, frequency))
            wall, _, result = timed(
                lambda data=data, starts=starts, n=number: jk.fit(problem, data, starts=starts, seed=n)
            )
            seconds += wall if number else 0.0
            at_truth = problem.compiled_residuals(problem.coordinates(truth), tuple(Points.of(one) for one in data))
            wrong += bool(result.chi2 > np.sum(at_truth**2))
            lists += bool(result.alternatives)
            for name, level in hits:
                hits[name, level] += covered(result.interval(name, level), truth[name])
        rows.append(
            {"what": "coverage", "noise": noise, "frequencies": count, "starts": starts or STARTS, "studies": STUDIES,
             "above_the_truth": wrong, "with_another_minimum": lists, "wall_s_per_fit": seconds / (STUDIES - 1),
             **{f"{name} {level:g}": hit / STUDIES for (name, level), hit in hits.items()}}
        )  # fmt: skip
    return rows


def main() -> None:
    problem, data = study()
    points = tuple(Points.of(one) for one in data)
    start, residuals = to_free(problem.parameters, problem.start_coordinates), compiled(problem, points)
    compile_wall = timed(lambda: jk.fit(problem, data, starts=1))[0]
    scipy_fit(problem, residuals)
    evaluation = min(timed(lambda: residuals(start))[1] for _ in range(50))
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(timed(lambda: jk.fit(problem, data, starts=1)))
        theirs.append(timed(lambda: scipy_fit(problem, residuals)))
    one, chi2_scipy, calls = ours[0][2], *theirs[0][2]
    default = timed(lambda: jk.fit(problem, data))
    default = timed(lambda: jk.fit(problem, data))
    many = timed(lambda: jk.fit(problem, data, starts=1000, seed=1))
    best = many[2]
    wall, cpu = (float(np.median([row[k] for row in ours])) for k in (0, 1))
    scipy_wall, scipy_cpu = (float(np.median([row[k] for row in theirs])) for k in (0, 1))
    equivalents = calls / (cpu / evaluation)
    direct = without_table(problem, data)
    rows = [
        {"what": "one start, after compilation", "wall_s": wall, "cpu_s": cpu, "steps": one.steps, "chi2": one.chi2,
         "converged": one.converged},
        {"what": "compilation and one start", "wall_s": compile_wall},
        {"what": f"{STARTS} starts (the default)", "wall_s": default[0], "cpu_s": default[1], "chi2": default[2].chi2},
        {"what": "1000 starts", "wall_s": many[0], "cpu_s": many[1], "chi2": best.chi2,
         "starts_at_minimum": int(np.sum(best.start_chi2 < best.chi2 + 0.01))},
        {"what": "scipy least_squares, 2-point differences", "wall_s": scipy_wall, "cpu_s": scipy_cpu,
         "evaluations": calls, "chi2": chi2_scipy},
        {"what": "one prediction of all points", "cpu_s": evaluation},
        {"what": "the same from the surface, without a table", "cpu_s": direct},
    ]  # fmt: skip
    facts = {
        "points": sum(map(len, data)),
        "parameters": len(problem.parameters),
        "faster_than_scipy_cpu": scipy_cpu / cpu,
        "faster_than_scipy_wall": scipy_wall / wall,
        "scipy_evaluations_over_ours_in_evaluation_times": equivalents,
        "scipy_evaluations_over_our_steps": calls / one.steps,
        "faster_than_scipy_without_table_cpu": calls * direct / cpu,
    }
    rows += coverage()
    for row in rows:
        print(row)
    print(facts)
    print(record.save("fits", rows, **facts))


if __name__ == "__main__":
    main()
