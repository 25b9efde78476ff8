"""Potentials V(r) given in real space."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import product

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import gamma, jv

from jaxkin.checks import check_kind, check_positive
from jaxkin.disorder.form_factors import SiteSum
from jaxkin.errors import AccuracyWarning, JaxkinError
from jaxkin.memory import demand
from jaxkin.namespace import namespace

EDGE = 1e-6
"""V at the radius, relative to its largest value, that is negligible."""
RESOLVED = 1e-8
"""Change between two quadratures of V, relative to ∫|V|, at which the finer one is taken."""
UNRESOLVED = 1e-6
"""Such a change after the finest quadrature that is worth a warning."""
ROUNDING = 1e-13
"""Points of the sum whose moments are below this part of the largest are left out."""
LEVELS = 4
"""Quadratures of V, each half as fine again as the last."""
PANEL = 16
"""Gauss-Legendre points of a radial panel."""
CELL_BYTES = 80
"""That a cell takes while those within a radius are looked for."""
ROWS = 4096
"""Points of a quadrature whose polynomials exist at a time."""


class RealSpace(eqx.Module):
    """A potential V(r) of your own, to be used as the form factor of :class:`FiniteRangeImpurity`.

    In a crystal it acts on each orbital at its own position, ⟨p|V|p'⟩ = 𝒱 Σ_{R,α} ψ*_α V(R + τ_α − r₀) ψ'_α
    with ψ_α = e^{ik·(R+τ_α)} u_α. In a k·p model ⟨p|V|p'⟩ = ⟨u|u'⟩ ∫dr V(r) e^{−i(k−k')·r}. When to take it:
    docs/impurities.md.

    Args:
        potential: V(r)/strength, a JAX function of Cartesian r (3,) in Å, measured from the impurity, that
            returns a real number. Times ``strength`` it is in eV.
        radius: Å, beyond which V is neglected.

    Raises:
        JaxkinError: a radius that is not positive; a potential that is not one real number, or not finite
            on a site; no site within the radius (both when it meets the model).

    Warns:
        AccuracyWarning: V is not negligible at the radius, or not resolved by the quadrature (k·p models).

    >>> import jaxkin as jk, jax.numpy as jnp
    >>> dent = jk.RealSpace(lambda r: jnp.exp(-(r @ r) / 2), radius=8.0)
    >>> impurity = jk.FiniteRangeImpurity(dent, strength=-0.3, density=0.01)  # 0.3 eV deep
    >>> surface = jk.fermi_surface(jk.models.get("kramers-weyl-d4"), -1.2, sampler=jk.Lines(n=8), replicas=2)
    >>> bool(impurity.collisions(surface, surface.shells[0]).optical_theorem < 1e-11)
    True
    """

    potential: Callable
    radius: float

    def __check_init__(self):
        check_kind("potential", self.potential, Callable, "a JAX function V(r) of r (3,) in Å")
        check_positive("radius of RealSpace", self.radius, "a positive length in Å")

    def on_sites(self, lattice: Float[np.ndarray, "d 3"], positions: Float[np.ndarray, "s 3"]) -> SiteSum:
        """𝒱 Σ_R V(R + x_s) e^{−iq·(R+x_s)} over the sites within the radius.

        Args:
            lattice: rows in Å, (d, 3).
            positions: x_s of the orbitals from the impurity in Å, (s, 3).

        Raises:
            JaxkinError: no site within the radius; V that is not one real number, or not finite.

        Warns:
            AccuracyWarning: V is not negligible at the radius.
        """
        return self.on_cells(*self.cells(lattice, positions), lattice, positions)

    def cells(self, lattice, positions) -> tuple[np.ndarray, tuple[int, ...]]:
        """Indices of the cells within the radius of each position, (s, m, d), and how many of the m are.

        Args:
            lattice: rows in Å, (d, 3).
            positions: x_s of the orbitals from the impurity in Å, (s, 3).

        Raises:
            JaxkinError: no site within the radius; V that is not one real number, or not finite.

        Warns:
            AccuracyWarning: V is not negligible at the radius.
        """
        cells = [cells_within(lattice, x, self.radius) for x in positions]
        if not any(map(len, cells)):
            raise JaxkinError(f"no orbital lies within radius={self.radius} Å of the impurity: raise it, or move r₀.")
        largest = max(
            np.abs(self._values(c @ lattice + x)).max() for c, x in zip(cells, positions, strict=True) if len(c)
        )
        self._check_edge(lattice, largest)
        most = 1 << (max(map(len, cells)) - 1).bit_length()  # so that few shapes compile
        padded = np.stack([np.pad(one, ((0, most - len(one)), (0, 0))) for one in cells])
        return padded, tuple(map(len, cells))

    def on_cells(self, cells: Array | np.ndarray, counts: tuple[int, ...], lattice, positions) -> SiteSum:
        """:meth:`on_sites` for known cells; the rest may be traced.

        Args:
            cells, counts: from :meth:`cells`.
            lattice: rows in Å, (d, 3).
            positions: x_s of the orbitals from the impurity in Å, (s, 3).
        """
        xp, present = namespace(lattice, positions), np.arange(cells.shape[1]) < np.array(counts)[:, None]
        points = cells @ lattice + positions[:, None]
        # V may be singular where there is no site to evaluate it on
        known = points[tuple(np.argwhere(present)[0])]
        points = xp.where(present[:, :, None], points, known)
        volume = xp.sqrt(xp.linalg.det(lattice @ lattice.T))
        values = jax.vmap(jax.vmap(self.potential))(jnp.asarray(points))
        return SiteSum(points, volume * xp.where(present, xp.asarray(values), 0.0))

    def on_ball(self, dimension: int, reach: Float[np.ndarray, " 3"]) -> SiteSum:
        """∫dr V(r) e^{−iq·r} for all |q_a| up to a ``reach``, as a sum over few points.

        e^{−iq·r} is a polynomial of low degree within the radius: its values on Chebyshev points r_m give
        it everywhere, e^{−iq·r} = Σ_m ℓ_m(r) e^{−iq·r_m}, so the sum needs the moments ∫V ℓ_m only,
        whatever the number of points that resolve V.

        Args:
            dimension: of the model.
            reach: (3,) in Å⁻¹.

        Raises:
            JaxkinError: V that is not one real number, or not finite.

        Warns:
            AccuracyWarning: V is not negligible at the radius, or not resolved.
        """
        nodes = [_chebyshev(self.radius, self.radius * q) for q in reach[:dimension]]
        weights, before, change, scale = np.zeros(1), None, np.inf, 1.0
        for level in range(LEVELS):
            points, measure = _ball(dimension, self.radius, level, max(map(len, nodes)))
            values = self._values(points)
            if before is None:
                self._check_edge(np.eye(3)[:dimension], float(np.abs(values).max()))
            weights = _moments(nodes, points, measure * values)
            scale = max(float(np.sum(measure * np.abs(values))), 1e-300)
            if before is not None:
                change = float(np.abs(weights - before).max()) / scale
                if change < RESOLVED:
                    break
            before = weights
        if change > UNRESOLVED:
            warnings.warn(
                f"V(r) is integrated to {change:.1g} only: it jumps or varies on a scale much shorter than "
                f"radius={self.radius} Å; smooth it, or lower `radius`.",
                AccuracyWarning,
                stacklevel=2,
            )
        grid = np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1).reshape(-1, dimension)
        kept = np.abs(weights.ravel()) > ROUNDING * np.abs(weights).max()
        return SiteSum(np.pad(grid[kept], ((0, 0), (0, 3 - dimension)))[None], weights.ravel()[kept][None])

    def _values(self, r: Float[np.ndarray, "m 3"]) -> Float[np.ndarray, " m"]:
        shape = jax.eval_shape(self.potential, jnp.zeros(3))
        if getattr(shape, "shape", None) != () or not jnp.issubdtype(shape.dtype, jnp.floating):
            raise JaxkinError("the potential of RealSpace must return one real number for r of shape (3,).")
        values = np.asarray(jax.vmap(self.potential)(jnp.asarray(r)))
        if not np.all(np.isfinite(values)):
            where = np.round(r[np.argmax(~np.isfinite(values))], 4).tolist()
            raise JaxkinError(f"V(r) of RealSpace is not finite at r = {where} Å from the impurity.")
        return values

    def _check_edge(self, axes: np.ndarray, largest: float) -> None:
        steps = np.array([s for s in product((-1, 0, 1), repeat=len(axes)) if any(s)]) @ axes
        edge = self._values(self.radius * steps / np.linalg.norm(steps, axis=1)[:, None])
        part = float(np.abs(edge).max()) / max(largest, 1e-300)
        if part > EDGE:
            warnings.warn(
                f"V(r) is cut off at radius={self.radius} Å, where it still is {part:.1g} of its largest value: "
                "raise `radius`.",
                AccuracyWarning,
                stacklevel=3,
            )


def cell_count(lattice: Float[np.ndarray, "d 3"], radius: float) -> float:
    """About how many cells are within ``radius`` (Å)."""
    d = len(lattice)
    return np.pi ** (d / 2) / gamma(d / 2 + 1) * radius**d / np.sqrt(np.linalg.det(lattice @ lattice.T))


def cells_within(
    lattice: Float[np.ndarray, "d 3"], x: Float[np.ndarray, " 3"], radius: float
) -> Float[np.ndarray, "m d"]:
    """The cells of all R + x no longer than ``radius`` (Å), as integers.

    Raises:
        JaxkinError: more of them than the memory budget holds.
    """
    dual = np.linalg.pinv(lattice)  # (3, d): reduced coordinates
    middle, reach = -(x @ dual), radius * np.linalg.norm(dual, axis=0)
    count = float(np.prod(2 * reach + 1))
    what = f"{count:.2g} cells round an impurity whose potential reaches {radius:.3g} Å"
    demand(CELL_BYTES * count, what, "lower its width or radius")
    steps = [np.arange(np.ceil(m - r), np.floor(m + r) + 1) for m, r in zip(middle, reach, strict=True)]
    cells = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, len(lattice))
    return cells[np.linalg.norm(cells @ lattice + x, axis=1) <= radius]


def _chebyshev(radius: float, phase: float) -> np.ndarray:
    """Points of [−radius, radius] on which e^{−iqr} is known to rounding, for |q| radius ≤ phase."""
    count = int(np.ceil(phase)) + 2
    while abs(jv(count, phase)) > 1e-13:  # the Chebyshev coefficients of e^{−iqr}
        count += 1
    return radius * np.cos(np.pi * (np.arange(count) + 0.5) / count)


def _ball(dimension: int, radius: float, level: int, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (m, 3) and weights of ∫dr over |r| < radius, spherical, so that r = 0 may be singular."""
    fine = 1.5**level
    node, weight = np.polynomial.legendre.leggauss(PANEL)
    panels = int(np.ceil(fine * max(2.0, degree / PANEL)))
    r = radius * ((np.arange(panels)[:, None] + 0.5 * (node + 1)) / panels).ravel()
    w = radius / panels * np.tile(0.5 * weight, panels) * r ** (dimension - 1)
    around = int(np.ceil(fine * (2 * degree + 8)))
    phi = 2 * np.pi * (np.arange(around) + 0.5) / around
    circle, turn = np.stack([np.cos(phi), np.sin(phi), 0 * phi], axis=1), np.full(around, 2 * np.pi / around)
    if dimension == 1:
        directions, solid = np.array([[1.0, 0, 0], [-1.0, 0, 0]]), np.ones(2)
    elif dimension == 2:
        directions, solid = circle, turn
    else:
        z, wz = np.polynomial.legendre.leggauss(around // 2 + 1)
        level_circles = np.sqrt(1 - z**2)[:, None, None] * circle
        directions = (level_circles + z[:, None, None] * np.array([0, 0, 1.0])).reshape(-1, 3)
        solid = np.outer(wz, turn).ravel()
    return (r[:, None, None] * directions).reshape(-1, 3), np.outer(w, solid).ravel()


def _moments(nodes: list[np.ndarray], points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Σ_p weights_p Π_a ℓ_{m_a}(r_{p,a}) with the Lagrange polynomials of Chebyshev nodes."""
    total = jnp.zeros(())
    for start in range(0, len(points), ROWS):
        part, fill = slice(start, start + ROWS), max(0, start + ROWS - len(points))
        total = total + _moment_tile(nodes, np.pad(points[part], ((0, fill), (0, 0))), np.pad(weights[part], (0, fill)))
    return np.asarray(total)


@jax.jit
def _moment_tile(nodes: list[Array], points: Array, weights: Array) -> Array:
    left = weights[:, None]
    for a, node in enumerate(nodes[:-1]):
        left = (left[:, :, None] * _lagrange(node, points[:, a])[:, None, :]).reshape(len(points), -1)
    return (left.T @ _lagrange(nodes[-1], points[:, len(nodes) - 1])).reshape([len(node) for node in nodes])


def _lagrange(nodes: Array, x: Array) -> Array:
    """ℓ_m(x), (points, m): from the discrete orthogonality of the Chebyshev polynomials."""
    n = len(nodes)
    angle = jnp.arccos(jnp.clip(x / nodes[0] * np.cos(0.5 * np.pi / n), -1, 1))
    order = np.arange(n)
    at_nodes = np.cos(np.pi * np.outer(np.arange(n) + 0.5, order) / n)
    at_nodes[:, 0] *= 0.5
    return 2 / n * jnp.cos(angle[:, None] * order) @ at_nodes.T
