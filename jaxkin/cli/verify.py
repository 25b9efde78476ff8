"""``jaxkin verify``: closed forms on this machine and device, within a minute."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np
from rich.table import Table
from rich.text import Text
from scipy import constants as si

import jaxkin as jk
from jaxkin.output import dataset as ds
from jaxkin.output.uncertainty import with_uncertainty

SIGMAS = 5.0
"""Standard errors that a result with an error bar may be away."""
CAP = 1e-3
"""Of the exact value, that its error bar may be at most."""
CLOSED = 1e-9
"""Of the exact value, for what has no sampling error; measured: 5e-15 on CPUs."""
MAGNETON = si.physical_constants["Bohr magneton"][0]


class Check(NamedTuple):
    """One number against its closed form."""

    name: str
    unit: str
    found: float
    error: float
    """Its standard error; 0 for what is not sampled."""
    exact: float

    @property
    def passed(self) -> bool:
        """Within the error, and the error below its cap.

        >>> Check("", "", 1.0, 1e-4, 1.0004).passed, Check("", "", 1.0, 1e-4, 1.0006).passed
        (True, False)
        """
        scale = abs(self.exact)
        away = abs(self.found - self.exact) <= SIGMAS * self.error + CLOSED * scale
        return bool(away and self.error <= CAP * scale)


def checks() -> Iterator[Check]:
    """All of them, one after another."""
    for group in GROUPS:
        yield from group()


def helical_metal() -> Iterator[Check]:
    """Isotropic helical metal: Eqs. (14), (20), (22), (17) of the paper, Drude's formula, density of states."""
    moment, tau, skew, jump, level = 1.3, 0.7, 40.0, 0.8, 0.5
    model = jk.models.get("helical-isotropic", moment=moment)
    surface = jk.fermi_surface(model, level, sampler=jk.Lines(24), replicas=8)
    response = jk.gyrotropic_response(surface, jk.RelaxationTime(tau, skew, jump))
    k = np.sqrt(2 * si.electron_mass * level * si.e) / si.hbar
    v, nu = si.hbar * k / si.electron_mass, si.electron_mass * k / (2 * np.pi**2 * si.hbar**2)
    t, length = tau * 1e-12, jump * si.angstrom
    closed = {
        ("intrinsic", 0): si.e * moment * MAGNETON * t * nu * v / 3,
        ("skew", 2): 2 * si.e**2 * t**3 * nu * v**3 / (45 * skew * 1e-12),
        ("side_jump", 2): -2 * si.e**2 * t * length * nu * v**2 / 15,
        ("nonlocal", 0): si.e**2 * t * length * nu * v**2 / 9,
    }
    for (name, a), exact in closed.items():
        part = response.g[name].map(lambda g, a=a: np.imag(g[:, 0, a, a]))
        label = f"helical metal: Im g_{'xyz'[a] * 2}, {name.replace('_', ' ')}"
        yield Check(label, "S", float(part.mean), float(part.stderr), exact)
    states = surface.density_of_states()
    yield Check("helical metal: density of states", "1/eV Å³", *_values(states), nu * 1e-30 * si.e)
    sigma = response.conductivity.sigma["drude"].map(lambda s: np.real(s[:, 0, 0, 0]))
    yield Check(
        "helical metal: n e²τ/m", "S/m", *_values(sigma), k**3 / (6 * np.pi**2) * si.e**2 * t / si.electron_mass
    )


def massive_dirac() -> Iterator[Check]:
    """Massive Dirac cone: curvature and moment at a point, states and filling of its circle."""
    v, mass, k = 1.0, 0.1, np.array([[0.2, -0.1]])
    model = jk.models.get("massive-dirac-2d", velocity=v, mass=mass)
    geometry, energy = jk.band_geometry(model, k, 1), float(np.hypot(v * np.linalg.norm(k), mass))
    unit = si.e * si.e / si.hbar * si.angstrom**2 / MAGNETON
    exact = {"Ω_z": -(v**2) * mass / (2 * energy**3), "m_z": -(v**2) * mass / (2 * energy**2) * unit}
    yield Check("Dirac cone: Ω_z", "Å²", float(geometry.berry_curvature[0, 2]), 0.0, exact["Ω_z"])
    yield Check("Dirac cone: m_z", "μ_B", float(geometry.orbital_moment[0, 2]), 0.0, exact["m_z"])
    level = 0.3
    surface = jk.fermi_surface(model, level, sampler=jk.Lines(32), replicas=8)
    states = surface.density_of_states()
    yield Check("Dirac cone: density of states", "1/eV Å²", *_values(states), level / (2 * np.pi * v**2))


def haldane() -> Iterator[Check]:
    """Haldane's model in its gap: the Chern number."""
    model, n = jk.models.get("haldane"), 48
    k = (np.stack(np.meshgrid(*[np.arange(n)] * 2), axis=-1).reshape(-1, 2) + 0.5) / n
    zone = (2 * np.pi) ** 2 * float(model.measure)  # area in Å⁻²
    number = float(jk.band_geometry(model, k, 0).berry_curvature[:, 2].mean()) * zone / (2 * np.pi)
    yield Check("Haldane model: |Chern number|", "", abs(number), 0.0, 1.0)


def thermal() -> Iterator[Check]:
    """The thermal average of the helical metal's density of states, by the lattice that is used at T > 0."""
    level, kelvin = 0.5, 300.0
    surface = jk.fermi_surface(jk.models.get("helical-isotropic"), level, kelvin, jk.Grid(48), replicas=8)
    x, kt = np.linspace(-40, 40, 40_001), si.k * kelvin / si.e
    step = 1 / (4 * np.cosh(x / 2) ** 2)
    k = np.sqrt(2 * si.electron_mass * si.e * np.maximum(level + kt * x, 0)) / si.hbar
    exact = float(np.sum(step * si.electron_mass * k / (2 * np.pi**2 * si.hbar**2)) * (x[1] - x[0])) * 1e-30 * si.e
    yield Check("helical metal, 300 K: density of states", "1/eV Å³", *_values(surface.density_of_states()), exact)


def point_impurity() -> Iterator[Check]:
    """The golden rule 1/τ = 2πnV²ν/ħ of one orbital on a simple cubic lattice, as τν with the surface's own ν."""
    steps, size, potential, density = np.concatenate([np.eye(3, dtype=int), -np.eye(3, dtype=int)]), 2.0, 0.3, 1e-3
    model = jk.TightBinding(size * np.eye(3), steps, -0.5 * np.ones((6, 1, 1)), np.zeros((1, 3)))
    surface = jk.fermi_surface(model, -2.0, sampler=jk.Lines(12), replicas=6)
    disorder = jk.PointImpurity(potential, [0], density, order="born")
    tau = jk.gyrotropic_response(surface, disorder).tau
    product = jk.Estimate(tau.samples * surface.density_of_states().samples)
    exact = si.hbar / si.e * 1e12 / (2 * np.pi * density * (potential * size**3) ** 2)
    yield Check("point impurity: τν by the golden rule", "ps/eV Å³", *_values(product), exact)


GROUPS: tuple[Callable[[], Iterator[Check]], ...] = (massive_dirac, haldane, helical_metal, thermal, point_impurity)


def _values(estimate: jk.Estimate) -> tuple[float, float]:
    return float(estimate.mean), float(estimate.stderr)


def table(found: list[Check]) -> Table:
    """Found, exact, error, pass or fail."""
    device = jax.devices()[0]
    versions = ", ".join(f"{name.removesuffix('_version')} {value}" for name, value in ds.versions().items())
    made = Table(title=f"{versions} ({device.platform}), {platform.machine()}", title_justify="left")
    for name in ("closed form", "found", "exact", "off by", "unit", ""):
        made.add_column(name, justify="left" if name in ("closed form", "unit", "") else "right", no_wrap=True)
    for one in found:
        off = f"{abs(one.found - one.exact) / abs(one.exact):.1e}"
        verdict = Text("pass", "green") if one.passed else Text("FAIL", "bold red")
        made.add_row(one.name, with_uncertainty(one.found, one.error), f"{one.exact:.7g}", off, one.unit, verdict)
    return made
