"""Impurities as self-energy and as irreducible vertex, on the orbitals that they act on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxkin.disorder.kernels import Disorder, Mixture
from jaxkin.disorder.point import PointImpurity, Site, located_site
from jaxkin.errors import JaxkinError
from jaxkin.hamiltonian.tight_binding import TightBinding

SAME_PLACE = 1e-9
"""Å between orbitals that count as one place."""


@dataclass(frozen=True)
class Kind:
    """One site of one impurity.

    Attributes:
        place: (m,) which of the located orbitals it acts on.
        potential: V in eV, (m, m).
        number: impurities per unit cell.
        born: whether t stops at V.
    """

    place: np.ndarray
    potential: np.ndarray
    number: float
    born: bool

    def amplitude(self, green: np.ndarray) -> np.ndarray:
        """T = (1 − V G)⁻¹V in eV, or V."""
        if self.born:
            return self.potential
        own = green[np.ix_(self.place, self.place)]
        return np.linalg.solve(np.eye(len(own)) - self.potential @ own, self.potential)


@dataclass(frozen=True)
class Scatterers:
    """All impurities of a sample on their D located orbitals m, each an orbital in a cell.

    Attributes:
        orbitals: (D,) which orbital of the model.
        positions: (D, d) R_m + τ_m in units of the lattice vectors.
        kinds: what acts on them.
        rows, columns: the p pairs (m, n) that one kind has both of, (p,).
    """

    orbitals: np.ndarray
    positions: np.ndarray
    kinds: tuple[Kind, ...]
    rows: np.ndarray
    columns: np.ndarray

    def self_energy(self, green: np.ndarray) -> np.ndarray:
        """S = Σ n t(G), or Σ n V G V in the Born approximation, in eV, (D, D); Σ(k) = P†(k) S P(k).

        Args:
            green: the averaged local G, (D, D) in 1/eV, retarded or advanced.
        """
        total = np.zeros_like(green)
        for kind in self.kinds:
            block = np.ix_(kind.place, kind.place)
            t = kind.amplitude(green)
            total[block] += kind.number * (t @ green[block] @ t if kind.born else t)
        return total

    def line(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """The irreducible vertex X → Σ n t(G_left) X t(G_right) on the pairs, (p, p) in eV².

        This is δΣ/δG of :meth:`self_energy`, so that the Ward identity holds:
        S(G) − S(G') is the vertex of X = G − G' for any two G.
        """
        size = len(self.orbitals)
        number = np.full((size, size), -1)
        number[self.rows, self.columns] = np.arange(len(self.rows))
        total = np.zeros((len(self.rows),) * 2, complex)
        for kind in self.kinds:
            pairs = number[np.ix_(kind.place, kind.place)].ravel()
            step = np.einsum("ij,lk->ikjl", kind.amplitude(left), kind.amplitude(right))
            total[np.ix_(pairs, pairs)] += kind.number * step.reshape(len(pairs), -1)
        return total


def scatterers(model: TightBinding, disorder: Disorder) -> Scatterers:
    """What the quantum calculation needs of point impurities.

    Args:
        model: has the orbitals.
        disorder: a :class:`jaxkin.PointImpurity` or a sum of them.

    Raises:
        JaxkinError: another kind of disorder, ``order="third"`` (its self-energy and vertex do not conserve
            particles), or a potential between orbitals at different places: electrons that hop over the impurity are
            a current of their own, which is not computed here.
    """
    parts = disorder.parts if isinstance(disorder, Mixture) else (disorder,)
    sites: list[tuple[PointImpurity, Site]] = []
    for part in parts:
        if not isinstance(part, PointImpurity):
            raise JaxkinError(
                f"the quantum calculation knows PointImpurity and sums of them, not {type(part).__name__}."
            )
        if part.order == "third":
            raise JaxkinError("the quantum calculation has no order='third'; use 'born' or 'tmatrix'.")
        sites += [(part, located_site(site, model)) for site in part.sites]
    located = list(dict.fromkeys(pair for _, site in sites for pair in _located(site)))
    orbitals = np.array([orbital for orbital, _ in located])
    positions = np.array([cell for _, cell in located]) + np.asarray(model.positions)[orbitals]
    volume = float(model.cell_volume)
    kinds = [
        Kind(
            np.array([located.index(pair) for pair in _located(site)]),
            np.asarray(site.potential),
            float(part.density) * volume / len(part.sites),
            part.order == "born",
        )
        for part, site in sites
    ]
    for kind in kinds:
        _check_places(kind, positions @ np.asarray(model.lattice))
    present = np.zeros((len(located),) * 2, bool)
    for kind in kinds:
        present[np.ix_(kind.place, kind.place)] = True
    rows, columns = np.nonzero(present)
    return Scatterers(orbitals, positions, tuple(kinds), rows, columns)


def _located(site: Site) -> Sequence[tuple[int, tuple[int, ...]]]:
    return list(zip(site.orbitals, site.cells, strict=True))


def _check_places(kind: Kind, positions: np.ndarray) -> None:
    own = positions[kind.place]
    apart = np.linalg.norm(own[:, None] - own, axis=-1) > SAME_PLACE
    if np.any(apart & (kind.potential != 0)):
        raise JaxkinError(
            "the potential connects orbitals at different places; the current over the impurity is not computed: "
            "use a potential that is diagonal in the positions."
        )
