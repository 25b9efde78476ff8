"""g_ab(ω) and σ_ab(ω) from averaged Green functions: no Boltzmann equation, any frequency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxkin import units
from jaxkin.brief import lines, listed
from jaxkin.disorder.kernels import Disorder
from jaxkin.errors import JaxkinError
from jaxkin.estimate import Estimate
from jaxkin.hamiltonian.tight_binding import TightBinding
from jaxkin.quantum.averaged import Dressed, SelfEnergy, Zone, self_energy
from jaxkin.quantum.bubble import Correlation, correlation
from jaxkin.quantum.scatterers import Scatterers, scatterers
from jaxkin.quantum.tree import Growth
from jaxkin.response import observables
from jaxkin.shelf import Arrays, Shelf, digest
from jaxkin.surface.plan import Progress

Bands = Literal["bare", "dressed"]
TOLERANCE = 1e-10
"""Of the self-energy, relative."""
UNCERTAIN = 0.02
"""Standard error of the conductivity, relative, beyond which the grid is said to be too coarse."""
STEP = 0.01
"""Of |S|: the frequency by which the part of the filled states is differentiated at ω = 0."""


@dataclass(frozen=True)
class Quality:
    """Diagnostics, the worst over frequencies, energies and replicas.

    What they are of: docs/complete_theory.md, "The quantum calculation".

    Attributes:
        ward: violation of the Ward identity, relative to the local Green function.
        onsager: |λ_abc + λ_bac| of the Fermi-surface part, relative to |λ|: with time reversal an error of the grid,
            as its shift sets k apart from −k. g does not contain it.
        residual: of the self-consistent self-energy, relative.
        grid: standard error of Tr σ between the shifts of the grid, relative; NaN from one replica.
    """

    ward: float
    onsager: float
    residual: float
    grid: float

    def warnings(self) -> tuple[str, ...]:
        """Reasons for caution."""
        found = []
        if self.grid > UNCERTAIN:
            found.append(
                f"shifts of the grid change the conductivity by {self.grid:.2g}: the broadening is not resolved "
                "(raise `grid` or lower `rtol`, or raise the density)."
            )
        if self.residual > 100 * TOLERANCE:
            found.append(f"the self-energy is self-consistent to {self.residual:.2g} only.")
        return tuple(found)


@dataclass(frozen=True)
class QuantumResponse:
    """g_ab(ω), Eq. (71), and σ_ab(ω) by the side of the cut that the two Green functions are on.

    Keys: ``surface``, retarded with advanced, from the energies between μ − ħω and μ; ``sea``, both retarded or both
    advanced, from all filled states; ``total``.

    Attributes:
        frequency: f = ω/2π in THz, (frequency,).
        g: gyrotropic tensor in S (in 2D: S m), each an Estimate of shape (frequency, 3, 3).
        sigma: conductivity at q = 0 in S/m (in 2D: S), likewise.
        self_energy: S at the Fermi level in eV, an Estimate (D, D) on the impurities' orbitals.
        quality: diagnostics.
        warnings: reasons for caution.
    """

    frequency: np.ndarray
    g: dict[str, Estimate]
    sigma: dict[str, Estimate]
    self_energy: Estimate
    quality: Quality
    warnings: tuple[str, ...]

    def __repr__(self) -> str:
        static = int(np.argmin(np.abs(self.frequency)))
        a, b = np.unravel_index(int(np.argmax(np.abs(self.g["total"].mean[static]))), (3, 3))
        return lines(
            f"QuantumResponse at f = {listed(self.frequency)} THz",
            f"largest component at {self.frequency[static]:g} THz, g_{'xyz'[a]}{'xyz'[b]} in S (2D: S m):",
            *(f"  {name} {part[static, a, b]}" for name, part in self.g.items()),
            *(f"warning: {line}" for line in self.warnings),
            "ask for .g[side].mean, .stderr, .sigma[side], .self_energy, .quality",
        )


class _Part(NamedTuple):
    """K and its slope."""

    value: np.ndarray
    slope: np.ndarray


def gyrotropic(
    model: TightBinding,
    disorder: Disorder,
    fermi_level: float,
    frequency: ArrayLike = (0.0,),
    *,
    grid: int | Sequence[int] | None = None,
    rtol: float = 1e-2,
    replicas: int = 2,
    seed: int = 0,
    bands: Bands = "bare",
    sea: bool = True,
    nodes: int = 12,
    progress: Progress | None = None,
    shelf: Shelf | None = None,
) -> QuantumResponse:
    """The Kubo formula at T = 0 with the self-consistent Born or T-matrix self-energy and the ladder of it.

    How it is evaluated: docs/complete_theory.md, "The quantum calculation".

    With E = iωA and K^XY_ab(z, z') = ∫(dk) Tr[v_a G^X(k+q/2, z) J_b G^Y(k−q/2, z')], energies from μ,

    σ_ab(q, ω) = (e²/2πħ) (1/ħω) { ∫_{−ħω}^0 dε K^RA(ε+ħω, ε)
    + i ∫_0^∞ dy [K^RR(iy+ħω, iy) + K^AA(−iy, −iy−ħω) − the same at ω = 0] },

    where the first integral is the part ``surface`` and the second ``sea``: ∫_{−∞}^0 dε of the functions that are
    analytic above or below the axis, turned into it. What is subtracted is the diamagnetic term, so that no static
    vector potential drives a current; and no static field B = iq×A does. λ_abc = ∂σ_ab/∂q_c, and g_ab = ½ε_cda λ_cdb,
    Eq. (71). Nothing is assumed of k_Fℓ, of ωτ or of ħω against the band splittings; crossed diagrams are left out,
    as everywhere in this package. At ω = 0 both integrals are taken to their limits.

    J_b carries the ladder with the irreducible vertex n t X t† (Born: n V X V), δΣ/δG. Its null component at ω → 0 is
    such that the density does not answer: :func:`jaxkin.quantum.bubble.correlation`.

    Args:
        model: tight binding, without position matrices.
        disorder: :class:`jaxkin.PointImpurity` or a sum of them, order ``"born"`` or ``"tmatrix"``, whose potential is
            diagonal in the positions.
        fermi_level: μ in eV.
        frequency: f = ω/2π in THz.
        grid: points of k along each reciprocal vector, many enough to resolve the broadening: the error of one shift
            falls as exp(−N a Γ/ħv) with Γ = −Im Σ. Without it k are the nodes of cells that are bisected where G is
            large: far fewer, where Γ is small against the bands or the Fermi surface a small part of the zone.
        rtol: of such cells: ∫‖G‖⁴ is known to it, and g better.
        replicas: random shifts of the grid, or of the cells that the others grow from, for the error bars.
        seed: of the shifts.
        bands: ``"bare"``, or ``"dressed"``: H(k) already contains the Hermitian part of Σ at the Fermi level. A
            comparison with the Boltzmann equation needs it, as Re Σ ∝ n changes a skew part ∝ n⁻² in the order n⁻¹.
        sea: whether the part ``sea`` is computed, which costs most: at ω → 0 it is by (Γ/ħv k_F)² the smaller one.
        nodes: of the quadrature over the energies of ``surface``; twice as many for ``sea``.
        progress: called with (done, total, what).
        shelf: where shifts are put that took long, and found by a later call.

    Raises:
        JaxkinError: a model with position matrices or of another kind, disorder that it cannot treat, a frequency that
            is not finite, matrices beyond the memory budget.

    >>> import jaxkin as jk
    >>> model = jk.models.get("kramers-weyl-o")
    >>> impurity = jk.PointImpurity(1.0, orbitals=[0, 1], density=1.0, order="born")
    >>> response = gyrotropic(model, impurity, -1.6, grid=12, sea=False)
    >>> response.g["surface"].mean.shape, response.quality.ward < 1e-8
    ((1, 3, 3), True)
    """
    omega = 2 * np.pi * units.HBAR * np.atleast_1d(np.asarray(frequency, float))
    if not np.all(np.isfinite(omega)):
        raise JaxkinError("frequencies must be finite.")
    if bands not in ("bare", "dressed"):
        raise JaxkinError(f"bands={bands!r} is unknown; choose bare or dressed.")
    if not isinstance(model, TightBinding) or model.position_matrices is not None:
        raise JaxkinError("the quantum calculation needs a tight-binding model without position matrices.")
    if model.spin is not None and model.spin.ndim == 4:
        raise JaxkinError("the quantum calculation needs spin matrices within the cell, (3, n, n), not between cells.")
    kinds = scatterers(model, disorder)
    size = None if grid is None else tuple([grid] * model.dimension if np.ndim(grid) == 0 else grid)  # pyright: ignore[reportArgumentType]
    if size is not None and (len(size) != model.dimension or min(size) < 1):
        raise JaxkinError(f"grid={grid} does not fit a model of {model.dimension} dimensions.")
    if not 0 < rtol < 1:
        raise JaxkinError(f"rtol={rtol} is not between 0 and 1.")
    x = _unit_nodes(nodes)[0]
    offsets = np.unique(np.concatenate([[0.0], *(w * np.concatenate([1 - x, -x]) for w in omega if w)]))
    rng = np.random.default_rng(seed)
    runs = []

    def one(zone: Zone | Growth) -> Arrays:
        return Run(model, kinds, zone, fermi_level, bands).parts(omega, nodes, sea)

    for replica in range(replicas):
        shift = rng.random(model.dimension)
        zone = Growth(offsets, shift, rtol) if size is None else Zone(model, size, shift)
        name = f"shifted-{digest(fermi_level)}/{replica}"
        runs.append((shelf or Shelf()).piece(name, partial(one, zone)))
        if progress is not None:
            progress(replica + 1, replicas, "shifts of the grid")
    return _response(model, np.atleast_1d(np.asarray(frequency, float)), runs)


class Run:
    """One shift of the grid, or of the tree's first cells.

    Args:
        model, kinds: what scatters where.
        zone: the quadrature, or what it grows from.
        fermi_level: μ in eV.
        bands: as for :func:`gyrotropic`.
    """

    def __init__(self, model: TightBinding, kinds: Scatterers, zone: Zone | Growth, fermi_level: float, bands: Bands):
        self.kinds, self.level, absorbed = kinds, fermi_level, bands == "dressed"
        nothing = np.zeros((len(kinds.orbitals),) * 2, complex)
        self.scale = float(np.abs(np.asarray(model.hoppings)).sum(axis=(0, 2)).max())  # eV, a bound of |H|
        start = kinds.self_energy(nothing - 1j / self.scale * np.eye(len(nothing)))
        # all of what a Born self-energy starts from is anti-Hermitian; a T-matrix may start from V alone
        start = start - 1e-3j * np.abs(start).max() * np.eye(len(nothing))
        self.dressed = Dressed(model, kinds, nothing)
        if isinstance(zone, Growth):
            zone, start = zone.tree(self.dressed, kinds, fermi_level, start, absorbed=absorbed)
        self.zone = zone
        self.own = self_energy(self.dressed, kinds, zone, fermi_level, start, TOLERANCE, absorbed=absorbed)
        if absorbed:
            self.dressed = Dressed(model, kinds, 0.5 * (self.own.s + self.own.s.conj().T))
        self._known: dict[complex, SelfEnergy] = {complex(fermi_level): self.own}
        self._ward, self._evaluations = 0.0, zone.count
        self._width = float(np.abs(np.imag(self.own.s)).max())

    def at(self, z: complex) -> SelfEnergy:
        """Of the energy z from μ, Im z ≥ 0."""
        z = complex(self.level + z)
        if z not in self._known:
            zone = self._zone_at(z.imag)
            self._known[z] = self_energy(self.dressed, self.kinds, zone, z, self.own.s, TOLERANCE)
            self._evaluations += zone.count
        return self._known[z]

    def _zone_at(self, height: float) -> Zone:
        """Fewer points where the distance from the axis adds to the broadening that they have to resolve."""
        return self.zone.thinned(self._width / (self._width + height))

    def pair(self, z: complex, other: complex, advanced: bool) -> Correlation:
        """K^RA(z, z') or K^RR(z, z') with its slope; energies from μ, those of G^A below the axis."""
        second = self.at(np.conj(other)).advanced if advanced else self.at(other)
        energies = complex(self.level + z), complex(self.level + other)
        zone = self._zone_at(abs(complex(z).imag))
        found = correlation(self.dressed, self.kinds, zone, energies, (self.at(z), second), advanced)
        self._ward, self._evaluations = max(self._ward, found.ward), self._evaluations + zone.count
        return found

    def parts(self, omega: np.ndarray, nodes: int, sea: bool) -> Arrays:
        """K and slopes of both integrals at all ħω (eV), with the 1/ħω; of the second zero if it is not wanted."""
        nothing = _Part(np.zeros((3,) * 2), np.zeros((3,) * 3))
        surface = [self._surface(w, *_unit_nodes(nodes)) for w in omega]
        # the upper half of the axis, half of the nodes below half the band width
        x, weight = _unit_nodes(2 * nodes)
        y, weight = 0.5 * self.scale * x / (1 - x), 0.5 * self.scale * weight / (1 - x) ** 2
        parts = {"surface": surface, "sea": [self._sea(w, y, weight) if sea else nothing for w in omega]}
        return {
            **{f"{name}_value": np.array([part.value for part in one]) for name, one in parts.items()},
            **{f"{name}_slope": np.array([part.slope for part in one]) for name, one in parts.items()},
            "self_energy": np.asarray(self.own.s),
            "residual": np.array(max(known.residual for known in self._known.values())),
            "ward": np.array(self._ward),
            "evaluations": np.array(self._evaluations),
        }

    def _surface(self, omega: float, x: np.ndarray, weight: np.ndarray) -> _Part:
        """(1/ħω) ∫_{−ħω}^0 dε K^RA(ε+ħω, ε)."""
        if omega == 0:
            found = self.pair(0.0, 0.0, True)
            return _Part(found.value, found.slope)
        found = [self.pair(omega * (1 - t), -omega * t, True) for t in x]
        return _Part(
            np.tensordot(weight, [part.value for part in found], axes=1),
            np.tensordot(weight, [part.slope for part in found], axes=1),
        )

    def _sea(self, omega: float, y: np.ndarray, weight: np.ndarray) -> _Part:
        """(i/ħω) ∫_0^∞ dy [K^RR(iy+ħω, iy) + K^AA(−iy, −iy−ħω) − the same at ω = 0].

        K^AA_ab(q; z*, z*−ħω) is the complex conjugate of K^RR_ab(−q; z−ħω, z).
        """
        value, slope = (np.zeros((3,) * rank, complex) for rank in (2, 3))
        step = omega or STEP * float(np.abs(self.own.s).max())
        for z, w in zip(1j * y, weight, strict=True):
            up, down = self.pair(z + step, z, False), self.pair(z - step, z, False)
            if omega:
                still = self.pair(z, z, False)
                value += w * (up.value + np.conj(down.value) - 2 * np.real(still.value))
                slope += w * (up.slope - np.conj(down.slope) - 2j * np.imag(still.slope))
            else:  # half the difference of the brackets at ±step
                value += w * 1j * np.imag(up.value - down.value)
                slope += w * np.real(up.slope - down.slope)
        return _Part(1j * value / step, 1j * slope / step)


def _unit_nodes(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss–Legendre nodes and weights of [0, 1]."""
    x, weight = np.polynomial.legendre.leggauss(count)
    return 0.5 * (x + 1), 0.5 * weight


def _response(model: TightBinding, frequency: np.ndarray, runs: list[Arrays]) -> QuantumResponse:
    dimension, volume = model.dimension, float(model.cell_volume)
    # e²/2πħ; (eV Å)² / (eV² Å^d) is Å^(2−d)
    unit = units.ELEMENTARY_CHARGE**2 / (2 * np.pi * units.HBAR * 1e-12 * units.ELEMENTARY_CHARGE) / volume
    length = units.per_volume(1) ** -1
    every = {name: np.stack([run[name] for run in runs]) for name in runs[0]}
    evaluations = int(every["evaluations"].sum())
    value, slope = ({name: every[f"{name}_{of}"] for name in ("surface", "sea")} for of in ("value", "slope"))
    value["total"], slope["total"] = value["surface"] + value["sea"], slope["surface"] + slope["sea"]
    trace = np.abs(np.trace(value["total"], axis1=-2, axis2=-1))
    spread = trace.std(axis=0, ddof=1) / np.sqrt(len(runs)) if len(runs) > 1 else np.full(len(frequency), np.nan)
    lam = slope["surface"]
    quality = Quality(
        ward=float(every["ward"].max()),
        onsager=float(np.abs(lam + np.swapaxes(lam, -3, -2)).max() / np.abs(lam).max()),
        residual=float(every["residual"].max()),
        grid=float(np.max(spread / trace.mean(axis=0))),
    )
    return QuantumResponse(
        frequency=frequency,
        g={n: Estimate(unit * length ** (3 - dimension) * _gyrotropic(s), evaluations) for n, s in slope.items()},
        sigma={n: Estimate(unit * length ** (2 - dimension) * v, evaluations) for n, v in value.items()},
        self_energy=Estimate(every["self_energy"], evaluations),
        quality=quality,
        warnings=quality.warnings(),
    )


def _gyrotropic(slope: np.ndarray) -> np.ndarray:
    """½ ε_cda λ_cdb of the last three axes, Eq. (71)."""
    return 0.5 * np.einsum("cda,...cdb->...ab", observables.LEVI_CIVITA, slope)
