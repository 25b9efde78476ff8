"""Local conductivity σ_ab(ω) and its Hall parts."""

from __future__ import annotations

import equinox as eqx
import numpy as np
from numpy.typing import ArrayLike
from scipy import constants as si

from jaxkin.disorder.kernels import Disorder
from jaxkin.estimate import Estimate
from jaxkin.namespace import AnyArray, is_traced, namespace
from jaxkin.response.observables import LEVI_CIVITA
from jaxkin.response.shell import SkewOrder, Solver
from jaxkin.response.sums import Theory
from jaxkin.response.transport import Transport, transport
from jaxkin.surface.sea import filled_berry_curvature
from jaxkin.surface.surface import Surface
from jaxkin.symmetry.operations import Operation
from jaxkin.symmetry.verify import is_symmetry


class Conductivity(eqx.Module):
    """σ_ab(ω) by mechanism in ``unit``, each (frequency, 3, 3).

    Keys ``drude``, ``intrinsic``, ``skew``, ``side_jump``, ``gaussian_skew`` and ``total``; the four before it are
    antisymmetric and vanish with time reversal (the parts of scattering to sampling error). Of a surface whose
    model or level is traced there is no ``intrinsic``, an integral over the filled states, and it is not in ``total``.
    """

    frequency: AnyArray
    sigma: dict[str, Estimate]
    unit: str = eqx.field(static=True)


def conductivity(
    surface: Surface,
    disorder: Disorder,
    frequency: ArrayLike = (0.0,),
    solver: Solver = "rta",
    *,
    skew_order: SkewOrder = "first",
    theory: Theory = "complete",
) -> Conductivity:
    """Local conductivity by mechanism.

    - Drude: σ_ab = −ie²⟨v_a|R|v_b⟩, e² τ/(1−iωτ) ∫(dk)(−f⁰') v_a v_b in the relaxation-time approximation;
    - intrinsic: σ_ab = −(e²/ħ) ε_abc ∫(dk) f⁰ Ω_c, for models that break time reversal;
    - skew: −ie²⟨v_a|R iA R|v_b⟩, antisymmetrised;
    - side jump: −ie²[⟨v_a|R|v_sj,b⟩ − ⟨v_sj,a|R|v_b⟩], half accumulation and half anomalous distribution;
    - Gaussian skew: as skew, of w^A ∝ n², where the disorder has a potential (:func:`gyrotropic_response`).

    These are the results without crossed diagrams.

    Args:
        surface: from :func:`fermi_surface`.
        disorder: any.
        frequency: f = ω/2π in THz.
        solver: ``"rta"`` or ``"exact"``.
        skew_order: ``"first"`` order in w^A, or ``"all"`` (exact solver only).
        theory: ``"paper"`` leaves out the Gaussian part.

    >>> import jaxkin as jk
    >>> surface = jk.fermi_surface(jk.models.get("helical-isotropic"), 0.5, sampler=jk.Lines(n=16), replicas=2)
    >>> sigma = jk.conductivity(surface, jk.RelaxationTime(tau=1.0)).sigma["total"]
    >>> round(float(sigma.mean[0, 0, 0].real) / 1e7, 1)  # n e² τ/m for n = 8.03e26 m⁻³
    2.3
    """
    return from_transport(surface, transport(surface, disorder, frequency, solver, skew_order, theory))


def from_transport(surface: Surface, sums: Transport) -> Conductivity:
    """σ from the sums over the shells, with the intrinsic part added."""
    parts = {name: samples[:, 1:] for name, samples in sums.conductivity.items()}
    if not is_traced(surface.model, surface.fermi_level, surface.temperature):
        intrinsic = namespace(parts["drude"]).asarray(intrinsic_conductivity(surface)[0])
        parts["intrinsic"] = namespace(intrinsic).broadcast_to(intrinsic, parts["drude"].shape)
    parts["total"] = sum(parts.values())
    sigma = {name: Estimate(samples, surface.evaluations) for name, samples in parts.items()}
    return Conductivity(sums.frequency, sigma, {3: "S/m", 2: "S", 1: "S m"}[surface.model.dimension])


def intrinsic_conductivity(surface: Surface) -> tuple[np.ndarray, float]:
    """−(e²/ħ) ε_abc ∫(dk) f⁰ Ω_c in SI, (3, 3), and its error; zero at once where time reversal holds."""
    model = surface.model
    if model.dimension == 1 or is_symmetry(model, Operation(np.eye(3), antiunitary=True)):
        return np.zeros((3, 3)), 0.0
    flux = filled_berry_curvature(model, surface.fermi_level, surface.temperature)
    to_si = si.elementary_charge**2 / si.hbar * si.angstrom ** (2 - model.dimension)
    return -to_si * np.einsum("abc,c->ab", LEVI_CIVITA, flux.values), to_si * flux.error
