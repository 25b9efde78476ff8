"""Shapes are padded and bucketed, and numbers are arrays: the same job with others compiles nothing."""

from functools import partial

import equinox as eqx
import jax
import pytest

import jaxkin as jk

MODEL = jk.models.get("kramers-weyl-d4")
COMPILED: list[str] = []


def _count(event: str, seconds: float, **details) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
        COMPILED.append(str(details.get("fun_name", "")))


jax.monitoring.register_event_duration_secs_listener(_count)  # of all threads


def lines(seed=0, n=8, level=-1.2):
    return jk.fermi_surface(MODEL, level, sampler=jk.Lines(n=n), replicas=2, seed=seed)


def thermal(seed=0, n=16, level=-1.2, temperature=300.0):
    return jk.fermi_surface(MODEL, level, temperature, sampler=jk.Grid(n=n), replicas=2, seed=seed)


def relaxation_time(surface=None, tau=1.0, tau_skew=100.0, side_jump=1.0, axis=(0, 0, 1), frequency=1.0):
    disorder = jk.RelaxationTime(tau, tau_skew, side_jump, axis)
    return jk.gyrotropic_response(surface or lines(), disorder, [0.0, frequency])


def point(surface=None, strength=1.0, density=0.01, solver="exact"):
    impurity = jk.PointImpurity(strength, [0, 1], density, order="third")
    return jk.gyrotropic_response(surface or lines(), impurity, [0.0, 1.0], solver)


def gaussian(surface=None, strength=3.0, density=1e-3, width=1.0):
    impurity = jk.FiniteRangeImpurity(jk.Gaussian(width), strength, density)
    return jk.gyrotropic_response(surface or lines(), impurity, [0.0, 1.0])


@pytest.mark.parametrize(
    ("job", "first", "others"),
    [
        pytest.param(lines, [{"seed": 1}, {"seed": 1, "n": 9}], [{"seed": 2}, {"n": 9}, {"level": -1.21}], id="lines"),
        pytest.param(
            thermal, [{"seed": 1}], [{"seed": 2}, {"level": -1.21}, {"temperature": 310.0}], id="thermal lattice"
        ),
        pytest.param(
            relaxation_time,
            [{}],
            [
                {"tau": 0.5},
                {"tau_skew": 20.0},
                {"tau_skew": None},
                {"side_jump": 0.0},
                {"axis": (0, 1, 1)},
                {"frequency": 3.0},
                {"surface": partial(lines, seed=3)},
                {"surface": partial(lines, n=9, level=-1.21)},
            ],
            id="relaxation time",
        ),
        pytest.param(
            point,
            [{}],
            [{"strength": 2.0}, {"density": 0.02}, {"surface": partial(lines, seed=3)}],
            id="point impurity",
        ),
        pytest.param(
            gaussian,
            [{"width": 1.1}],  # of a rank in the bucket of 1.05's
            [{"strength": 2.0}, {"density": 0.02}, {"width": 1.05}, {"surface": partial(lines, seed=3)}],
            id="gaussian impurity",
        ),
    ],
)
def test_other_numbers_compile_nothing(job, first, others):
    """Each job has met the buckets it needs; a shape or a number of its own would show."""
    jax.clear_caches()  # nothing is there because of tests before this one
    eqx.clear_caches()
    job()
    for options in first:
        job(**options)
    for options in others:
        options = {name: value() if callable(value) else value for name, value in options.items()}
        COMPILED.clear()
        job(**options)
        assert COMPILED == [], options


def test_compilations_are_seen():
    before = len(COMPILED)
    jax.jit(lambda x: x + 1.5)(1.0)
    assert len(COMPILED) == before + 1
