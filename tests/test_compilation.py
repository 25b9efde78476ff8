"""Shapes are padded and bucketed: the same job with other random numbers compiles nothing."""

import logging

import jax
import pytest

import jaxkin as jk

MODEL = jk.models.get("kramers-weyl-d4")
GAUSSIAN = jk.Gaussian(1.0)


def lines(seed):
    return jk.fermi_surface(MODEL, -1.2, sampler=jk.Lines(n=8), replicas=2, seed=seed)


def thermal(seed):
    return jk.fermi_surface(MODEL, -1.2, 300.0, sampler=jk.Grid(n=16), replicas=2, seed=seed)


def relaxation_time(seed):
    disorder = jk.RelaxationTime(tau=1.0, tau_skew=100.0, side_jump=1.0)
    return jk.gyrotropic_response(lines(seed), disorder, [0.0, 1.0])


def gaussian_impurity(seed):
    disorder = jk.FiniteRangeImpurity(GAUSSIAN, 3.0, 1e-3)
    return jk.gyrotropic_response(lines(seed), disorder, [0.0, 1.0], solver="exact")


@pytest.mark.parametrize("job", [lines, thermal, relaxation_time, gaussian_impurity])
def test_other_random_numbers_compile_nothing(job, caplog):
    """Each job has met the buckets it needs after two runs; a shape of its own would show in the third."""
    sizes = {len(job(seed).k) for seed in (0, 1)} if job in (lines, thermal) else {len(lines(0)), len(lines(1))}
    if job not in (lines, thermal):
        job(0), job(1)
    assert len(lines(2)) not in sizes  # or nothing is shown
    with jax.log_compiles(True), caplog.at_level(logging.WARNING, logger="jax"):
        job(2)
    assert [record.getMessage() for record in caplog.records if "Compiling" in record.getMessage()] == []
