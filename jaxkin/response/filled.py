"""What the filled bands add to the response of an observable."""

from __future__ import annotations

import warnings
from dataclasses import replace

import jax
import numpy as np
from scipy import constants as si

from jaxkin import units
from jaxkin.errors import AccuracyWarning
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.spectrum import operators
from jaxkin.observable import Observable
from jaxkin.response.observables import LEVI_CIVITA
from jaxkin.surface.plan import Progress
from jaxkin.surface.sea import LEAST, filled_response, quantum
from jaxkin.surface.surface import Surface
from jaxkin.surface.zone import Goal

SAMPLES = 6
"""k at which it is seen whether anything is left between k and −k."""
ODD = 1e-7
"""|F(k) + F(−k)| relative to the largest |F| that is rounding of states of near bands."""
CLEAN = 1e-14
"""Matrix elements between bands, relative to the largest, that are rounding."""
SMALL = 0.1
"""Part of an integrand's usual size below which accuracy is not relative."""


def filled_tensor(
    surface: Surface, observable: Observable, thermal: bool, rtol: float, budget: int, progress: Progress | None
) -> tuple[np.ndarray, np.ndarray]:
    """−e ∫(dk) f⁰ F_ab, and its error, (m, 3) per m^d and V/m; or −∫(dk) s F_ab per K/m, s the entropy of a state.

    Of a current of heat one order higher in ε − μ: kT s in place of f⁰, and ∫_ε (ε'−μ)²(−f⁰')dε' in that of kT s.
    F_ab = −2 Im⟨D_a u|D_b u⟩ with |D_a u⟩ = Σ_m |m⟩⟨m|O_a|u⟩/(ε − ε_m). Zero at once where F(−k) = −F(k), as time
    reversal makes it of observables that are odd under it.

    Warns:
        AccuracyWarning: the budget was spent before ``rtol`` was reached.
    """
    scale = units.per_volume(surface.model.dimension) * si.angstrom
    if thermal:
        scale = -scale / surface.temperature
    values, errors = [], []
    for part in observable.triples():
        tensor, error = _filled(surface, part, thermal, Goal(rtol, budget), progress)
        values.append(scale * tensor)
        errors.append(np.abs(scale) * error)
    return np.concatenate(values)[: len(observable)], np.concatenate(errors)[: len(observable)]


def _filled(
    surface: Surface, part: Observable, thermal: bool, goal: Goal, progress: Progress | None
) -> tuple[np.ndarray, np.ndarray]:
    model, kt, power = surface.model, units.BOLTZMANN * surface.temperature, thermal + part.heat
    usual, odd = _looked_at(model, part)
    if odd:
        return np.zeros((3, 3)), np.zeros((3, 3))
    current = part.matrices is None
    least = LEAST * quantum(model) if current else SMALL * usual
    found = filled_response(
        model,
        surface.fermi_level,
        surface.temperature,
        part,
        replace(goal, least=least * kt**power),
        power=power,
        pockets=None if surface.temperature or surface.elsewhere else surface.pockets,
        progress=progress,
    )
    excess = found.relative_error
    if excess > goal.rtol:
        warnings.warn(
            f"the intrinsic part of {', '.join(part.names)} is known to {excess:.1g} only (asked: {goal.rtol:g}); "
            "raise `budget`, or give intrinsic=False.",
            AccuracyWarning,
            stacklevel=4,
        )
    values, error = found.values[0], np.full((3, 3), found.error[0])
    if current:
        return np.einsum("abc,c->ab", LEVI_CIVITA, values), error * (1 - np.eye(3))
    matrices = np.abs(np.asarray(part.matrices))
    present = matrices.max(axis=(1, 2) if matrices.ndim == 3 else (0, 1, 2)) > 0
    return values.reshape(3, 3), error * present[:, None]


def _looked_at(model: BlochModel, part: Observable) -> tuple[float, bool]:
    """The median of |F_n| times the states per volume, and whether F_n(−k) = −F_n(k) at a few random k."""
    lo, hi = np.array(model.zone).T
    offset = np.random.default_rng(11).uniform(-0.5, 0.5, (SAMPLES, len(lo))) * (hi - lo)
    centre = np.zeros_like(lo) if model.periodic else 0.5 * (lo + hi)
    here, there = (_curvatures(model, part, centre + sign * offset) for sign in (1, -1))
    usual = float(np.median(np.abs(here).max(axis=(2, 3)))) * float(model.measure) * float(np.prod(hi - lo))
    return usual, bool(np.abs(here + there).max() <= ODD * np.abs(here).max())


def _curvatures(model: BlochModel, part: Observable, k: np.ndarray) -> np.ndarray:
    """F_n,ab of every band, (K, n, 3, 3)."""
    h, slope = map(np.asarray, operators(model, k))
    o = np.asarray(jax.vmap(lambda q: part.at(model, q))(k))
    energies, states = np.linalg.eigh(h)
    v, o = (np.einsum("kmi,kamn,knj->kaij", states.conj(), x, states) for x in (slope, o))
    gap = energies[:, :, None] - energies[:, None, :]
    apart = np.abs(gap) > 1e-6
    inverse = np.where(apart, 1 / np.where(apart, gap, 1.0) ** 2, 0.0)
    found = -2 * np.imag(np.einsum("kanm,kbmn,knm->knab", o, v, inverse))
    rounding = CLEAN * np.abs(o).max() * np.abs(v).max() * inverse.max()
    return np.where(np.abs(found) > rounding, found, 0.0)
