"""A sampled surface: points, weights and band geometry, with replicas for the error, here or elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxkin import units
from jaxkin.brief import brief, lines, plural
from jaxkin.checks import check_count, check_kind, check_number, check_positive, numbers
from jaxkin.errors import JaxkinError
from jaxkin.estimate import Estimate
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.eigensystem import DEGENERACY
from jaxkin.namespace import AnyArray, Number, is_traced, namespace
from jaxkin.surface.brillouin import folded, zone_edges
from jaxkin.surface.mesh import ACROSS, MOST_ACROSS, Mesh, level_mesh
from jaxkin.surface.rule import Rule
from jaxkin.surface.samples import Sampler
from jaxkin.surface.search import Pocket
from jaxkin.surface.thermal import Thermal


class Shell(NamedTuple):
    """The points of one replica at one energy: where elastic scattering stays, docs/method.md, "Temperature".

    Attributes:
        points: which of the surface's.
        replica: its number.
        energy: in eV.
    """

    points: slice
    replica: int
    energy: Number


class Layout(NamedTuple):
    """Which points make which shell: ``starts`` of all and the end of the last, and each one's replica and level."""

    starts: tuple[int, ...]
    replica: tuple[int, ...]
    level: tuple[int, ...]

    @classmethod
    def of(cls, counts: Sequence[int], replica: Sequence[int], level: Sequence[int]) -> Layout:
        """From the number of points of each shell."""
        starts = np.cumsum([0, *counts]).tolist()
        return cls(tuple(starts), tuple(map(int, replica)), tuple(map(int, level)))

    def __len__(self) -> int:
        return len(self.replica)


class Kept:
    """Something that is compared by identity, so that it may be part of what is compiled."""

    def __init__(self, value: Any):
        self.value = value


class Surface(eqx.Module):
    """Points that turn ∫(dk)(−f⁰')F, or ∫(dk) δ(ε−μ)F at T = 0, into a weighted sum.

    How they are found: docs/method.md. Arrays run over the points of all replicas, sorted by shell.

    It is a pytree: :meth:`at` evaluates the same random points for another model, μ or T, also under ``jax.jit``,
    ``jax.grad`` and ``jax.vmap``, and all that takes a surface takes that one.

    Attributes:
        model: whose surface it is.
        fermi_level: μ in eV.
        temperature: T in K.
        k: (N, d) model coordinates.
        energy: ε in eV, (N,).
        velocity: ∂ε/∂k in eV Å, (N, 3).
        berry_curvature: Ω in Å², (N, 3), Eq. (15).
        orbital_moment: m in μ_B, (N, 3), Eq. (4), that of spin in it where the model has spin operators.
        spin_moment: that of spin by itself in μ_B, (N, 3).
        weight: W in 1/(eV Å^d), (N,): Σ_{points of one replica} W F is one estimate of the integral.
        level_weight: the same, in the same unit, for ∫(dk) δ(ε−ε_shell)F over the points of a shell.
        sampler: that made the points.
        replicas, seed, evaluations: independent random shifts, where they begin, and the number of H(k) diagonalised.
        layout: which points make which shell.
        verdict: which sampler was chosen, and how accurate the surface is, in words.
        warnings: reasons for caution.
    """

    model: BlochModel
    fermi_level: Number
    temperature: Number
    k: AnyArray
    energy: AnyArray
    velocity: AnyArray
    berry_curvature: AnyArray
    orbital_moment: AnyArray
    spin_moment: AnyArray
    weight: AnyArray
    level_weight: AnyArray
    rule: Rule
    """What was decided about the points, and how they follow μ, T and the model."""
    heights: np.ndarray
    """(E,) relative energies (ε−μ)/kT of the shells, 0 at T = 0; where processes share the replicas, of all."""
    bloch: tuple[AnyArray, AnyArray] | None
    """|u⟩ (N, n) and |D_a u⟩ (N, 3, n) in Å where they are there already."""
    sampler: Sampler = eqx.field(static=True)
    replicas: int = eqx.field(static=True)
    seed: int = eqx.field(static=True)
    layout: Layout = eqx.field(static=True)
    evaluations: int = eqx.field(static=True)
    smallest_pocket: float = eqx.field(static=True)
    """In Å⁻¹: no pocket that contains a ball of this diameter was missed."""
    decided: Kept = eqx.field(static=True)
    """The pockets."""
    carriers: Kept = eqx.field(static=True)
    """Electrons and holes in Å^-d, a function Thermal → (replicas, 2), computed when they are asked for."""
    degeneracy: float = eqx.field(static=True, default=DEGENERACY)
    """eV: bands that lie closer count as one set in moments and curvatures."""
    verdict: str = eqx.field(static=True, default="")
    warnings: tuple[str, ...] = eqx.field(static=True, default=())
    elsewhere: bool = eqx.field(static=True, default=False)
    """Whether this is a sampled surface evaluated elsewhere."""
    original: Kept = eqx.field(static=True, default_factory=lambda: Kept(None))
    """The surface that was sampled: see :meth:`sampled`."""
    orbits: Kept = eqx.field(static=True, default_factory=lambda: Kept(None))
    """Of :class:`jaxkin.surface.orbits.Orbits`, where points are known to be images of others."""
    costly: Kept = eqx.field(static=True, default_factory=lambda: Kept({}))
    """Green functions and pivots, which will be wanted again."""

    def __len__(self) -> int:
        return len(self.k)

    @brief
    def __repr__(self) -> str:
        d, where = self.model.dimension, plural(len(self.pockets), "pocket")
        return lines(
            f"Surface: {len(self)} points in {where}, μ = {self.fermi_level:g} eV, T = {self.temperature:g} K",
            f"bands {', '.join(map(str, np.unique(self.band)))} of {self.model.size}, in {d} dimensions",
            f"{plural(self.replicas, 'replica')}, seed {self.seed}, {self.sampler}",
            f"{self.evaluations} H(k) evaluations: {self.verdict}",
            f"density of states {self.density_of_states()} /(eV Å^{d})",
            *(f"warning: {line}" for line in self.warnings),
            "ask for .k, .band, .weight, .energy, .velocity, .orbital_moment, .berry_curvature,",
            ".integrate(F), .carrier_density(), .at(...), .mesh(), .export(file)",
        )

    @property
    def band(self) -> np.ndarray:
        """(N,) index of each point's band."""
        return self.rule.band

    @property
    def pocket(self) -> np.ndarray:
        """(N,) index into :attr:`pockets`."""
        return self.rule.pocket

    @property
    def pockets(self) -> tuple[Pocket, ...]:
        """Where the search found the surface, largest first."""
        return self.decided.value

    @property
    def replica(self) -> np.ndarray:
        """(N,) index of each point's replica."""
        return np.repeat(np.array(self.layout.replica, int), np.diff(self.layout.starts))

    @property
    def levels(self) -> AnyArray:
        """(E,) the different energies of the shells in eV; where processes share the replicas, of those of all."""
        return self.fermi_level + self.heights * (units.BOLTZMANN * self.temperature)

    @property
    def shells(self) -> tuple[Shell, ...]:
        """The shells, replica by replica."""
        starts, levels = self.layout.starts, self.levels
        return tuple(
            Shell(slice(starts[n], starts[n + 1]), self.layout.replica[n], levels[self.layout.level[n]])
            for n in range(len(self.layout))
        )

    @property
    def sampled(self) -> Surface:
        """The surface that was sampled, with values that are known also where this one is traced."""
        return self.original.value

    def as_sampled(self) -> Surface:
        """This surface as one that was sampled, with nothing computed on it yet."""
        original = Kept(None)
        original.value = replace(self, original=original, costly=Kept({}), elsewhere=False)
        return original.value

    def at(
        self,
        *,
        model: BlochModel | None = None,
        fermi_level: Number | None = None,
        temperature: Number | None = None,
    ) -> Surface:
        """The same random points for another model, Fermi level or temperature; what is not given stays.

        Its derivative is the exact derivative of the quadrature, and an unbiased estimate of the integral's
        derivative, replica by replica. What was decided stays decided: which lines and roots there are, how many
        terms a Green function's integral has. In a degenerate set energies, velocities and set means are exact
        where the set stays degenerate; where a parameter splits it, only what depends on energies and velocities
        alone has a derivative.

        Args:
            model: of the same bands and zone.
            fermi_level: μ in eV.
            temperature: T in K, for a surface at T > 0.

        Raises:
            JaxkinError: a smeared grid at T = 0, a surface without points, a temperature for one at T = 0; more than
                1e-4 of the weight on roots that are gone there. Where values are traced, all results are NaN instead.

        >>> import jax, jaxkin as jk
        >>> surface = jk.fermi_surface(jk.models.get("helical-isotropic"), 0.5, sampler=jk.Lines(24), replicas=2)
        >>> dos = lambda mu: surface.at(fermi_level=mu).density_of_states().mean
        >>> round(float(0.5 * jax.jit(jax.grad(dos))(0.5) / dos(0.5)), 2)  # ν ∝ √μ
        0.5
        """
        source = self.sampled
        if not len(source):
            raise JaxkinError("the surface has no points: there is nothing to evaluate elsewhere.")
        if temperature is not None and not is_traced(source.temperature) and not source.temperature:
            raise JaxkinError("a surface at T = 0 has no temperature to vary: sample it at T > 0.")
        model = self.model if model is None else model
        check_kind("model", model, BlochModel, "a Bloch model of the same bands")
        check_number("fermi_level", fermi_level, "a finite energy in eV", optional=True)
        check_positive("temperature", temperature, "a positive number of kelvin", optional=True)
        mu = self.fermi_level if fermi_level is None else fermi_level
        kelvin = self.temperature if temperature is None else temperature
        found = source.rule.at(model, mu, units.BOLTZMANN * kelvin, source.degeneracy)
        xp = namespace(found.weight)
        if not is_traced(found.intact) and not found.intact:
            raise JaxkinError(
                f"roots of the surface at {source.fermi_level:g} eV are gone with these arguments: too far from where "
                "it was sampled; sample a new one there."
            )
        geometry = found.geometry
        return replace(
            source,
            model=model,
            fermi_level=mu,
            temperature=kelvin,
            k=found.k,
            energy=geometry.energy,
            velocity=geometry.velocity,
            berry_curvature=geometry.berry_curvature,
            orbital_moment=geometry.orbital_moment,
            spin_moment=geometry.spin_moment,
            weight=xp.where(found.intact, found.weight, xp.nan),
            level_weight=xp.where(found.intact, found.level_weight, xp.nan),
            bloch=(geometry.state, geometry.covariant_derivative),
            elsewhere=True,
        )

    def integrate(self, values: AnyArray | Callable) -> Estimate:
        """∫(dk)(−f⁰')F with its standard error; ∫(dk) δ(ε−μ)F at T = 0. Units of F per eV Å^d.

        Args:
            values: F at the points, (N, ...), in any unit, or a JAX function F(k, band) of one point.

        Raises:
            JaxkinError: values that are not numbers, not finite, or not as many as the points.

        >>> import jaxkin as jk
        >>> model = jk.models.get("helical-isotropic")
        >>> surface = jk.fermi_surface(model, fermi_level=0.5, sampler=jk.Lines(n=8), replicas=4)
        >>> estimate = surface.integrate(lambda k, band: 1.0)  # density of states
        >>> abs(float(estimate.mean) - 0.00241) < 1e-4
        True
        """
        if callable(values):
            values = jax.jit(jax.vmap(values))(jnp.asarray(self.k), jnp.asarray(self.band))
            values = values if is_traced(values) else np.asarray(values)
        xp = namespace(self.weight, values)
        values = xp.asarray(values)
        if values.dtype.kind not in "fciub":
            numbers("values", values, "numbers at the points, or a function F(k, band)", complex)
        if values.shape[:1] != (len(self),):
            raise JaxkinError(f"values have shape {values.shape}; the first axis must be the {len(self)} points.")
        if not is_traced(values) and not np.all(finite := np.isfinite(np.asarray(values))):
            point = np.argwhere(~finite)[0][0]
            raise JaxkinError(
                f"values must be finite; at point {point}, k = {np.asarray(self.k)[point]}, they are not."
            )
        terms = self.weight.reshape(-1, *(1,) * (values.ndim - 1)) * values
        samples = [xp.zeros(values.shape[1:], terms.dtype)] * self.replicas
        for shell in self.shells:
            samples[shell.replica] = samples[shell.replica] + terms[shell.points].sum(axis=0)
        return Estimate(xp.stack(samples), self.evaluations)

    def density_of_states(self) -> Estimate:
        """∫(dk)(−f⁰') per eV and Å^d; bands are counted as the model has them (no spin factor)."""
        return self.integrate(np.ones(len(self)))

    def carrier_density(self) -> dict[str, Estimate]:
        """Electrons and holes in Å^-d, bands counted as the model has them.

        Å^-d is what :func:`jaxkin.fermi_level` and impurities take; times ``jaxkin.units.per_cm(d)`` it is cm^-d, the
        unit of tables, files and pictures.

        Per band, ∫(dk) f⁰ are its electrons, or ∫(dk) (1 − f⁰) its holes where the states that are empty at T = 0 are
        enclosed: they nowhere wrap round the zone, and filled ones do. The same in every cell, whatever the sampler.

        Raises:
            JaxkinError: a surface evaluated elsewhere, whose filling was not sampled.
        """
        if self.elsewhere:
            raise JaxkinError("carrier densities are not known of a surface evaluated elsewhere: sample one there.")
        electrons, holes = self.carriers.value(Thermal(float(self.fermi_level), float(self.temperature))).T
        return {"electrons": Estimate(electrons, self.evaluations), "holes": Estimate(holes, self.evaluations)}

    def mesh(self, across: int = ACROSS) -> Mesh:
        """The surface ε = μ as triangles, in two dimensions as segments, with the band geometry at their corners.

        Args:
            across: cells across the shortest direction of each pocket, at least.

        Raises:
            JaxkinError: a model of one dimension, or a surface evaluated elsewhere.

        >>> import jaxkin as jk
        >>> surface = jk.fermi_surface(jk.models.get("helical-isotropic"), 0.5, sampler=jk.Lines(8), replicas=2)
        >>> mesh = surface.mesh()
        >>> round(float(mesh.measure.sum() / (4 * np.pi * (mesh.vertices[0] ** 2).sum())), 2)  # of a sphere
        1.0
        """
        check_count("across", across, 2, most=MOST_ACROSS)
        if self.model.dimension == 1:
            raise JaxkinError("the Fermi surface of a model of one dimension is points, not a mesh: see .k.")
        if self.elsewhere:
            raise JaxkinError(
                "a surface evaluated elsewhere has no mesh, as it was not searched for: sample one there."
            )
        return level_mesh(self.model, float(self.fermi_level), self.pockets, float(self.degeneracy), across)

    def export(
        self,
        path: str | Path,
        quantities: Mapping[str, Callable] | None = None,
        *,
        across: int = ACROSS,
        grid: int = 48,
        colours: Sequence[str] = (),
    ) -> Path:
        """Write the surface for other programs, in the format of the file's ending; return its path.

        - ``.bxsf``: energies of the bands that have the level, in eV on a grid of the reciprocal cell (XCrySDen);
        - ``.vtk``: triangles in the first Brillouin zone with band, velocity, moment and curvature (ParaView);
        - ``.html``: the same as a page that turns in any browser, coloured by any of them;
        - ``.png``: a picture, a panel for each of the ``colours``;
        - ``.csv``: the sampled points with their weights, units in the first line.

        Args:
            path: of the file.
            quantities: more to write at triangles' corners or points, JAX functions F(k, band) of one point as
                :meth:`integrate` takes, with a number or a vector (3,) as their value.
            across: as of :meth:`mesh`.
            grid: points of a .bxsf along each reciprocal vector.
            colours: of a .png: ``"velocity_x"`` is a component and ``"velocity"`` the length of a vector; the moment,
                curvature and ``quantities`` as well. By default the quantities, or else moment and velocity.

        Raises:
            JaxkinError: another ending, a model that the format cannot hold, a file that cannot be written.
        """
        from jaxkin.output import export

        check_kind("path", path, (str, PathLike), "the path of a file")
        file, more = Path(path), dict(quantities or {})
        suffix = export.check_suffix(file)
        title = f"Fermi surface at {float(self.fermi_level):.6g} eV"
        if suffix == ".bxsf":
            check_count("grid", grid, 2, most=MOST_ACROSS)
            return export.write(file, export.bxsf(self.model, float(self.fermi_level), grid))
        if suffix == ".csv":
            return export.write(file, export.points(self, export.evaluated(more, self.k, self.band)))
        mesh = self.mesh(across)
        mesh = replace(mesh, further=export.evaluated(more, mesh.k, mesh.band))
        mesh = folded(mesh, self.model, self.pockets)
        if suffix == ".vtk":
            return export.write(file, export.vtk(mesh, f"{title}, k in 1/Angstrom"))
        if suffix == ".png":
            return export.write(file, export.picture(mesh, zone_edges(self.model), title, colours or list(more)))
        return export.write(file, export.page(mesh, zone_edges(self.model), f"{title}, k in 1/Angstrom"))
