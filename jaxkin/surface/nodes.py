"""Energies at the nodes of nested grids of the zone, diagonalised once whoever asks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from jaxkin.hamiltonian.spectrum import Spectrum
from jaxkin.memory import demand
from jaxkin.surface.certificate import free_of_levels
from jaxkin.surface.maps import EXACT, ZoneMap, canonical_nodes

BASE_CELLS = {1: 256, 2: 32, 3: 12}
"""Cells per direction of the first pass; it looks at twice as many nodes."""
COPIES = 3
"""Of the kept energies exist at once while new ones are sorted in."""


class Nodes:
    """Energies at the corners of cells, kept level by level so that searches for several windows share them.

    Of nodes that ``maps`` of the zone make equivalent one is diagonalised. ``evaluations`` counts the nodes that were
    asked for here, also those whose energies :meth:`shared` nodes knew already: what a search costs, and what is
    decided by its cost, does not depend on the searches before it. ``diagonalised`` counts the work of all that share.
    """

    def __init__(self, spectrum: Spectrum, maps: Sequence[ZoneMap] = (), whole: Nodes | None = None):
        self.spectrum, self.maps = spectrum, maps
        self.evaluations = 0
        self._diagonalised = 0
        self._asked: dict[int, np.ndarray] = {}
        self._whole = whole or self
        self._known: dict[int, tuple[np.ndarray, np.ndarray]] = {} if whole is None else whole._known

    @property
    def diagonalised(self) -> int:
        """Diagonalisations of all that share these energies."""
        return self._whole._diagonalised

    def shared(self) -> Nodes:
        """The same energies with a count of their own."""
        return Nodes(self.spectrum, self.maps, self._whole)

    @cached_property
    def first(self) -> np.ndarray:
        """Energies (..., n) at the nodes of the first pass, a row of them for each direction."""
        model, per_edge = self.spectrum.model, 2 * BASE_CELLS[self.spectrum.model.dimension]
        every = np.meshgrid(*[np.arange(self.per_axis(per_edge))] * model.dimension, indexing="ij")
        return self.energies(per_edge, np.stack(every, axis=-1))

    def per_axis(self, per_edge: int) -> int:
        """Nodes along each axis of the grid with ``per_edge`` cells per edge of the zone."""
        return per_edge + (not self.spectrum.model.periodic)

    def distinct(self, per_edge: int, node: np.ndarray) -> np.ndarray:
        """The different ones (M, d) of nodes (N, d), those of other zones moved into the first, or left out."""
        span, shape = self.per_axis(per_edge), self._shape(per_edge)
        inside = node % span if self.spectrum.model.periodic else node[np.all((node >= 0) & (node < span), axis=1)]
        number = np.unique(np.ravel_multi_index(inside.T, shape))
        return np.stack(np.unravel_index(number, shape), axis=-1)

    def energies(self, per_edge: int, node: np.ndarray) -> np.ndarray:
        """(..., n) energies at integer nodes (..., d) of the grid with ``per_edge`` cells per edge of the zone.

        Raises:
            JaxkinError: more nodes than the memory budget has room for.
        """
        model = self.spectrum.model
        wanted, inverse = self._canonical(per_edge, node.reshape(-1, model.dimension))
        keys, values = self._known.get(per_edge, (np.zeros(0, np.int64), np.zeros((0, model.size))))
        new = np.setdiff1d(wanted, keys, assume_unique=True)
        asked = self._asked.get(per_edge, np.zeros(0, np.int64))
        self._asked[per_edge] = np.union1d(asked, wanted)
        self.evaluations += len(self._asked[per_edge]) - len(asked)
        if len(new):
            self._demand(len(new))
            self._whole._diagonalised += len(new)
            keys = np.concatenate([keys, new])
            values = np.concatenate([values, self.spectrum(self._place(per_edge, new))])
            order = np.argsort(keys)
            keys, values = keys[order], values[order]
            self._known[per_edge] = keys, values
        return values[np.searchsorted(keys, wanted)][inverse.reshape(node.shape[:-1])]

    def free_of_levels(
        self, per_edge: int, node: np.ndarray, window: tuple[float, float], radius: float, bend: float
    ) -> np.ndarray:
        """Whether no band can be in ``window`` within ``radius`` (Å⁻¹) of integer nodes (N, d), as the certificate's.

        Equivalent nodes have equivalent balls. A symmetry that was found may miss energies by ``EXACT``, by which the
        window is wider; one that was stated is taken at its word.
        """
        wanted, inverse = self._canonical(per_edge, node)
        slack = EXACT if self.maps else 0.0
        wider = window[0] - slack, window[1] + slack
        self.evaluations += len(wanted)
        self._whole._diagonalised += len(wanted)
        self.spectrum.evaluations += len(wanted)
        return free_of_levels(self.spectrum.model, self._place(per_edge, wanted), wider, radius, bend)[inverse]

    def _demand(self, more: int) -> None:
        """Raise unless ``more`` energies can be kept, with the copies that sorting them in makes."""
        known = more + sum(len(keys) for keys, _ in self._known.values())
        demand(
            COPIES * 8 * known * (1 + self.spectrum.model.size),
            f"the energies at {known} nodes of the search",
            "raise it, or ask for a larger `smallest_pocket`",
        )

    def _canonical(self, per_edge: int, node: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the nodes that stand for nodes (N, d), and which of them stands for each, (N,)."""
        shape, periodic = self._shape(per_edge), self.spectrum.model.periodic
        number, inverse = np.unique(
            np.ravel_multi_index((node % shape if periodic else node).T, shape), return_inverse=True
        )
        if not self.maps:
            return number, inverse
        first = canonical_nodes(self.maps, shape, np.stack(np.unravel_index(number, shape), axis=-1))
        number, standing = np.unique(first, return_inverse=True)
        return number, standing[inverse]

    def _place(self, per_edge: int, number: np.ndarray) -> np.ndarray:
        """Model coordinates (N, d) of nodes by number."""
        lo, edges = zone_box(self.spectrum.model.zone)
        return lo + edges * np.stack(np.unravel_index(number, self._shape(per_edge)), axis=-1) / per_edge

    def _shape(self, per_edge: int) -> tuple[int, ...]:
        return (self.per_axis(per_edge),) * self.spectrum.model.dimension


def zone_box(zone) -> tuple[np.ndarray, np.ndarray]:
    """Lowest corner and edges of the zone in model coordinates."""
    lo, hi = np.array(zone, float).T
    return lo, hi - lo


def level_distance(nodes: Nodes, level: float) -> float:
    """Distance in eV of ``level`` from the nearest band, as the nodes of the first pass see it; 0 inside a band."""
    energies = nodes.first.reshape(-1, nodes.spectrum.model.size)
    return float(np.maximum(energies.min(axis=0) - level, level - energies.max(axis=0)).min().clip(0))
