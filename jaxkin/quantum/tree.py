"""A quadrature over the zone that is fine where averaged Green functions are large: near the Fermi surface."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxkin.errors import AccuracyWarning
from jaxkin.hamiltonian.tight_binding import TightBinding
from jaxkin.hamiltonian.tiles import over_tiles
from jaxkin.quantum.averaged import Dressed, Zone, inverses, self_energy, tile_rows
from jaxkin.quantum.scatterers import Scatterers
from jaxkin.surface.zone import NODES, Cells, Goal, adaptive_integral, first_mesh, nodes

BUDGET = 20_000_000
"""Points that a tree may take while it grows."""
LOWER = 0.25
"""The distance from the real axis, relative to that of the tree before."""
SETTLED = 0.1
"""Relative change of the self-energy below which its tree is the last."""
FEWEST = 4
"""Nodes along each direction of a cell far from the real axis."""


class Tree(Zone):
    """Gauss-Legendre nodes of cells that fill the zone.

    Args:
        model: any.
        cells: of different sizes.
        across: nodes along each direction of a cell.
    """

    def __init__(self, model: TightBinding, cells: Cells, across: int):
        self.model, self.cells, self.across = model, cells, across
        self.k, self.weights = nodes(cells, across)

    @property
    def count(self) -> int:
        """Points."""
        return len(self.k)

    def thinned(self, share: float) -> Tree:
        """For a broadening that is 1/share times as large: fewer nodes of the same cells."""
        return Tree(self.model, self.cells, min(self.across, max(int(np.ceil(self.across * share)), FEWEST)))

    def _nodes(self, number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.k[number], self.weights[number]


@dataclass(frozen=True)
class Growth:
    """How a tree is grown.

    Cells are bisected until ∫(dk) ‖G‖⁴ is known at all energies. No cell of a coarse mesh needs to see a small pocket:
    G is taken at a distance from the real axis that is lowered step by step, each tree growing from the one before,
    and then with the self-energies that follow from its nodes, until these no longer change.

    Attributes:
        offsets: (E,) energies in eV from the one whose self-energy is used, which is one of them.
        shift: of the first cells, (d,) model coordinates.
        rtol: of the integral.
    """

    offsets: np.ndarray
    shift: np.ndarray
    rtol: float

    def tree(
        self, dressed: Dressed, scatterers: Scatterers, energy: float, start: np.ndarray, *, absorbed: bool = False
    ) -> tuple[Tree, np.ndarray]:
        """Cells, and S at ``energy`` (eV) to a tenth.

        Args:
            dressed, scatterers: G and its self-energy.
            energy: in eV.
            start: S in eV to begin with.
            absorbed: as for :func:`self_energy`.

        Warns:
            AccuracyWarning: ``rtol`` took more than 20 million points.
        """
        model, s = dressed.model, start
        cells, _ = first_mesh([(x, x + 1.0) for x in self.shift], [], True)
        height = float(np.abs(np.asarray(model.hoppings)).sum(axis=(0, 2)).max())  # eV, a bound of |H|
        while True:
            acting = 0.5 * (s - s.conj().T) if absorbed else s
            given = dressed, jnp.asarray(energy + self.offsets + 1j * height), jnp.asarray(acting)
            found = adaptive_integral(partial(_sizes, given), cells, Goal(self.rtol, BUDGET))
            cells, zone = found.cells, Tree(model, found.cells, NODES[model.dimension])
            new = self_energy(dressed, scatterers, zone, energy + 1j * height, s, SETTLED, absorbed=absorbed).s
            change, s, width = np.abs(new - s).max() / np.abs(new).max(), new, float(np.abs(new.imag).max())
            if height == 0 and change < SETTLED:
                break
            height = LOWER * height if height > LOWER * width else 0.0
        error = found.relative_error
        if error > self.rtol:
            warnings.warn(
                f"the tree of k has an error of {error:.1g}: raise the density.", AccuracyWarning, stacklevel=2
            )
        return zone, s


def _sizes(given: tuple, k: np.ndarray) -> np.ndarray:
    return over_tiles(_size, tile_rows(given[0].model, len(k)), k, given=given)


@jax.jit
def _size(k: Float[Array, "K d"], dressed: Dressed, z: Array, s: Array) -> Float[Array, "K E 1"]:
    """‖G‖⁴ at each energy: as high a power of the poles as the slope of a bubble has."""
    green = inverses(jnp.stack([dressed.inverse(k, level, s) for level in z]))
    return (jnp.sum(jnp.abs(green) ** 2, axis=(1, 2)) ** 2).T[..., None]
