"""Modes of the collision operator: patterns on the surface that decay each at a rate of its own ("relaxons")."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from scipy.spatial import KDTree

from jaxkin.brief import brief, lines
from jaxkin.checks import check_count, check_kind
from jaxkin.disorder.collisions import Collisions
from jaxkin.disorder.kernels import Disorder
from jaxkin.disorder.states import ShellStates, filled_size
from jaxkin.errors import AccuracyWarning, JaxkinError
from jaxkin.estimate import Estimate
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.memory import demand
from jaxkin.response.quality import scattering_warnings
from jaxkin.response.resolvent import Resolvent
from jaxkin.response.transport import check_weights
from jaxkin.surface.surface import Shell, Surface
from jaxkin.symmetry.operations import Operation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DENSE = 2500
"""States up to which all modes are found as those of a matrix."""
COLUMNS = 64
"""Of the identity that the operator is applied to at once, to make one."""
COLUMNS_OF_A_SPACE = 600


class RelaxationModes:
    """The slowest modes of L at the Fermi level, L x = x/τ with ⟨x|x⟩ = Σ W x² = Σ W.

    What for: docs/observables.md, "Modes of the collision operator".

    Attributes:
        rates: 1/τ in 1/ps, ascending, an Estimate (count,).
        share: part of ⟨v_a|L⁻¹|v_a⟩, of σ_aa without skew scattering, that each mode carries, an Estimate (count, 3).
        k: Cartesian k of the states of the first replica in Å⁻¹, reduced coordinates from −½ to ½, (M, 3).
        shapes: the modes x there, no unit, (count, M).
        model: whose surface they are on; kept for :meth:`parity`.
    """

    def __init__(self, rates: Estimate, share: Estimate, k: np.ndarray, shapes: np.ndarray, model: BlochModel):
        self.rates, self.share, self.k, self.shapes, self._model = rates, share, k, shapes, model

    @brief
    def __repr__(self) -> str:
        carried = np.argsort(-self.share.mean.max(axis=1))[:4]
        rows = (
            f"  mode {number}: rate {self.rates[int(number)]} /ps, "
            f"{', '.join(f'{100 * x:.3g}' for x in self.share.mean[number])} %"
            for number in sorted(carried)
        )
        return lines(
            f"RelaxationModes: the {len(self.shapes)} slowest, {len(self.k)} states",
            "what carries most of σ_xx, σ_yy, σ_zz:",
            *rows,
            "ask for .rates, .share, .shapes (count, M) at .k, .parity(operation), .figure()",
        )

    def parity(self, operation: Operation) -> Float[np.ndarray, " count"]:
        """⟨x|x∘g⟩/⟨x|x⟩, no unit, of a symmetry g: ±1 for a mode that is even or odd, less for one of a degenerate set.

        The mode at g k is that of the nearest state: known to the distance between states.
        """
        sign = -1.0 if operation.antiunitary else 1.0
        period = 1.0 if self._model.periodic else None
        here, there = (
            np.asarray(k @ np.asarray(self._model.dual).T) for k in (self.k, sign * self.k @ operation.rotation.T)
        )
        if period:
            here, there = here % period, there % period
        near = KDTree(here, boxsize=period).query(there)[1]
        overlap = np.einsum("cm,cm->c", self.shapes, self.shapes[:, near])
        return overlap / np.einsum("cm,cm->c", self.shapes, self.shapes)

    def figure(self, modes: Sequence[int] | None = None) -> Figure:
        """Rates with what each mode carries, and the shapes of some: those that carry most by default.

        Needs matplotlib: ``figure.savefig("modes.png")``.
        """
        from matplotlib.figure import Figure  # optional

        carried = self.share.mean.max(axis=1)
        most = [number for number in np.argsort(-carried)[:4] if carried[number] > 0.2 * carried.max()]
        chosen = sorted(most) if modes is None else list(modes)
        figure = Figure(figsize=(4 + 3 * len(chosen), 3.6), layout="constrained")
        axes = figure.add_subplot(1, len(chosen) + 1, 1)
        rates, error = self.rates.mean, self.rates.stderr
        colours = ["#1b6ca8" if number in chosen else "#9aa5ad" for number in range(len(rates))]
        axes.bar(np.arange(len(rates)), rates, yerr=np.nan_to_num(error), color=colours, capsize=2)
        for number in chosen:
            axes.annotate(f"{100 * self.share.mean[number].max():.0f} %", (number, rates[number]), ha="center",
                          va="bottom", fontsize=7, rotation=90)  # fmt: skip
        axes.set(xlabel="mode", ylabel="rate in 1/ps", title="what carries the current in blue", ylim=(0, None))
        spread = np.ptp(self.k, axis=0)
        flat = spread[2] == 0
        for place, number in enumerate(chosen, start=2):
            shape = self.shapes[number]
            top = np.quantile(np.abs(shape), 0.99)
            panel = figure.add_subplot(1, len(chosen) + 1, place, projection=None if flat else "3d")
            points = self.k.T[: 2 if flat else 3]
            panel.scatter(*points, c=shape, cmap="RdBu_r", vmin=-top, vmax=top, s=5)
            panel.set(title=f"mode {number}, {rates[number]:.3g} /ps", xlabel="k_x in Å⁻¹", ylabel="k_y in Å⁻¹")
            if flat:
                panel.set_aspect("equal")
            else:
                panel.set(zlabel="k_z in Å⁻¹")
                panel.set_box_aspect(np.maximum(spread, 1e-3 * spread.max()))
                panel.tick_params(labelsize=5)
        return figure


def relaxation_modes(surface: Surface, disorder: Disorder, count: int = 16) -> RelaxationModes:
    """The slowest modes of the collision operator L = Γ − S, Eq. (47), on the shell nearest to the Fermi level.

    A distribution δf = Σ_n c_n x_n decays as Σ c_n x_n e^{−t/τ_n}; a field drives those that overlap with the velocity:
    σ_aa = e² Σ_n |⟨v_a|x_n⟩|² τ_n, without skew scattering. Where one triple of modes carries nearly all, the
    relaxation-time approximation holds. The first mode is the number of carriers, of rate zero; the next, where valleys
    scatter weakly into each other, the differences of their numbers.

    Args:
        surface: from :func:`fermi_surface`.
        disorder: any.
        count: modes.

    Warns:
        AccuracyWarning: a potential of finite range is too strong for its T-matrix.

    Raises:
        JaxkinError: fewer states than modes, or negative weights.

    >>> import jaxkin as jk
    >>> surface = jk.fermi_surface(jk.models.get("helical-isotropic"), 0.5, sampler=jk.Lines(n=8), replicas=2)
    >>> modes = jk.relaxation_modes(surface, jk.RelaxationTime(tau=2.0), count=4)
    >>> bool(np.allclose(modes.rates.mean, [0, 0.5, 0.5, 0.5]))
    True
    """
    check_kind("surface", surface, Surface, "a surface, from jaxkin.fermi_surface")
    check_kind("disorder", disorder, Disorder, "disorder, such as jaxkin.RelaxationTime(tau=1.0)")
    check_count("count", count)
    scatterer = disorder.on(surface)
    check_weights(surface, scatterer, "exact")
    states, found, saturated, coarse = ShellStates(surface, scatterer.bloch), [], [], []
    for replica in range(surface.replicas):
        shells = [shell for shell in surface.shells if shell.replica == replica]
        shell = min(shells, key=lambda shell: abs(float(shell.energy) - float(surface.fermi_level)))
        size = shell.points.stop - shell.points.start
        if size < count:
            raise JaxkinError(f"count={count}: the shell nearest to the Fermi level has only {size} states.")
        one = states.of(shell, filled_size(size, scatterer.pairs))
        collisions = scatterer.at(shell.energy)(one)
        saturated += [] if collisions.saturation is None else [collisions.saturation]
        coarse.append(collisions.coarseness())
        found.append((shell, *_slowest(collisions, size, count)))
    coarseness = float(np.mean(coarse)) if surface.model.dimension > 1 else 0.0
    for line in scattering_warnings(np.mean(saturated) if saturated else None, coarseness):
        warnings.warn(line, AccuracyWarning, stacklevel=2)
    first: Shell = found[0][0]
    k = np.asarray(surface.k)[first.points]
    if surface.model.periodic:
        k = k - np.round(k)
    return RelaxationModes(
        Estimate(np.stack([rates for _, rates, _, _ in found]), surface.evaluations),
        Estimate(np.stack([share for _, _, share, _ in found]), surface.evaluations),
        np.asarray(surface.model.cartesian(k)),
        found[0][3],
        surface.model,
    )


def _slowest(collisions: Collisions, size: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rates, shares and shapes (count, M) of a shell of M = ``size`` states, which may be filled up."""
    weights, rate = (np.asarray(x)[:size] for x in (collisions.weights, collisions.rate))
    root, symmetric, fill = np.sqrt(weights), jax.jit(collisions.symmetric), len(collisions.weights) - size
    inverse = np.divide(1.0, root, out=np.zeros(size), where=root > 0)

    def loss(x: np.ndarray) -> np.ndarray:
        columns = x.reshape(size, -1)
        functions = np.pad(inverse[:, None] * columns, ((0, fill), (0, 0)))
        gain = np.asarray(symmetric(jnp.asarray(functions)))[:size]
        return (rate[:, None] * columns - root[:, None] * gain).reshape(x.shape)

    if size <= max(DENSE, 2 * count):
        demand(8 * 6 * size**2, f"the collision operator of {size} states", "raise it, or use fewer points")
        identity = np.eye(size)
        matrix = np.concatenate([loss(identity[:, n : n + COLUMNS]) for n in range(0, size, COLUMNS)], axis=1)
        rates, vectors = np.linalg.eigh(0.5 * (matrix + matrix.T))
    else:
        operator = LinearOperator((size, size), matvec=loss, matmat=loss, dtype=float)  # pyright: ignore[reportCallIssue]
        try:
            rates, vectors = eigsh(operator, k=count, which="SA", ncv=max(4 * count, 64), tol=1e-9)  # pyright: ignore[reportArgumentType]
        except ArpackNoConvergence as error:
            raise JaxkinError(
                f"count={count}: only {len(error.eigenvalues)} modes lie apart from the continuum of rates; ask for "
                "fewer, or use fewer points."
            ) from None
    rates, vectors = rates[:count], vectors[:, :count]
    time = 1 / np.maximum(rates, 1e-300)
    time[rates < 1e-9 * rate.max()] = 0.0  # conserved numbers, which no field drives
    solve = Resolvent(collisions, np.zeros(1), "dense" if size <= DENSE else "krylov", COLUMNS_OF_A_SPACE)
    velocity = solve.velocity()
    carried = time[:, None] * (vectors.T @ np.asarray(velocity)[:size]) ** 2
    whole = solve.project(solve.root * velocity, solve.even(velocity))
    driven = np.maximum(np.diagonal(np.asarray(jnp.real(1j * whole[0]))), 1e-300)
    return rates, carried / driven, (inverse[:, None] * vectors).T * np.sqrt(weights.sum())
