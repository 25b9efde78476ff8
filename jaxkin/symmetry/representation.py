"""How the orbitals of a crystal transform, found on H(k), and the symmetry partners of an impurity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import equinox as eqx
import jax
import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import eigh, polar
from scipy.sparse.csgraph import connected_components

from jaxkin.errors import ConfigError, SymmetryError
from jaxkin.hamiltonian.tight_binding import TightBinding
from jaxkin.symmetry.operations import Operation
from jaxkin.symmetry.verify import find_symmetries

TOLERANCE = 1e-2
"""eV, for matrix elements: larger than that for energies, which forgive a change of the orbitals."""
SITE_RADIUS = 0.25
"""Of the mean distance between orbitals: centres closer than this belong to one site."""
SUPPORT = 1e-2
"""An image leaves out the orbitals on which U has no amplitude above this."""
_UNIQUE = 0.1
"""Error of U above which it says nothing."""
_ROUNDING = 1e-6
_TINY = 1e-12
_FIT_POINTS = 12
_TEST_POINTS = 4

LocalPotential = tuple[np.ndarray, tuple[int, ...], np.ndarray]
"""V (m, m) in eV, its m orbitals, and the cell of each: integers (m, d)."""


def orbital_representation(model: TightBinding, operation: Operation, *, tolerance: float = TOLERANCE) -> np.ndarray:
    """Unitary U (n, n), no unit, up to a phase: H(gk) = U H(k) U† at all k; g takes orbital α to Σ_β |β⟩ U_βα.

    U minimises Σ_k |U H(k) − H(gk) U|² at random k among the matrices that put every site on its image
    under {g|t}; of the translations t that permute the sites, the best. In this H(k) the orbitals of a
    site stand at their common centre, as the spread of Wannier centres about an atom depends on the
    choice of orbitals; U acts on the orbitals in real space and depends on neither. It finds an impurity's equivalent
    sites: docs/impurities.md.

    Args:
        model: the crystal.
        operation: a unitary point operation (Cartesian).
        tolerance: eV, for the largest matrix element of U H(k) U† − H(gk) at other random k.

    Raises:
        SymmetryError: no symmetry of the lattice, of its sites or of H(k); or U is not unique because bands
            are degenerate at every k, or some orbitals are not connected by any hopping.
        ConfigError: the operation is antiunitary.

    >>> import jaxkin as jk, numpy as np
    >>> quarter = jk.symmetry.Operation(np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]]))
    >>> u = jk.symmetry.orbital_representation(jk.models.get("kramers-weyl-d4"), quarter)
    >>> complex(np.round(u[1, 1] / u[0, 0], 6) + 0)  # exp(−iπσ_z/4)
    1j
    """
    if operation.antiunitary:
        raise ConfigError(f"{operation.name} is antiunitary; only a unitary operation is a matrix on the orbitals.")
    return Crystal(model).image(operation, tolerance).matrix


def partners(
    model: TightBinding,
    potential: ArrayLike,
    orbitals: Sequence[int],
    cells: ArrayLike | None = None,
    operations: list[Operation] | None = None,
    *,
    tolerance: float = TOLERANCE,
) -> list[LocalPotential]:
    """The distinct images U V U† of a local potential V = Σ_mm' |m⟩ V_mm' ⟨m'|, itself first.

    Impurities sit on all of them: docs/impurities.md. Images that differ by a lattice translation are one, and so are
    those that agree within the accuracy of U. The first orbital of every image but the first lies in cell 0.

    Args:
        model: the crystal.
        potential: (m, m) Hermitian, in eV.
        orbitals: m indices.
        cells: (m, d) integers, the cell of each orbital; None: all in cell 0.
        operations: the crystal's whole group, of which the unitary operations are used; None finds it on H(k).
        tolerance: as of :func:`orbital_representation`, in eV.

    Returns:
        ``(potential (m', m'), orbitals, cells (m', d))`` of each.

    Raises:
        SymmetryError: see :func:`orbital_representation`.
        ConfigError: shapes that do not fit, an orbital that is not there or twice, V not Hermitian.

    >>> import jaxkin as jk
    >>> honeycomb = jk.models.get("haldane", mass=0.0)
    >>> [orbitals for _, orbitals, _ in jk.symmetry.partners(honeycomb, [[0.5]], [0])]
    [(0,), (1,)]
    """
    local = _checked(model, potential, orbitals, cells)
    crystal = Crystal(model)
    found, known = [local], [(crystal.moved(crystal.identity, local)[0], 0.0)]
    for operation in find_symmetries(model) if operations is None else operations:
        if operation.antiunitary:
            continue
        for image in crystal.images(operation, tolerance):
            whole, amplitude = crystal.moved(image, local)
            if not any(_same(whole, other, max(image.noise, noise)) for other, noise in known):
                known.append((whole, image.noise))
                found.append(_part(whole, amplitude > SUPPORT))
    return found


@dataclass(frozen=True)
class SpaceOperation:
    """{g|t}: U on the orbitals; site a of cell R goes to site ``target[a]`` of cell R ``turn`` + ``shift[a]``.

    Where it ``reverses`` time it is U times complex conjugation.
    """

    matrix: np.ndarray
    turn: np.ndarray
    target: np.ndarray
    shift: np.ndarray
    fault: float = 0.0  # largest matrix element of U H U† − H', eV
    misfit: float = 0.0  # |U H − H' U| of a U of norm 1, eV
    gap: float = np.inf  # the same of the second best U, orthogonal to the best
    reverses: bool = False

    @property
    def noise(self) -> float:
        """Error of U."""
        return self.misfit / self.gap


class Crystal:
    """A model whose orbitals are gathered into sites: orbital o stands at ``centre[site[o]] + offset[o]`` (reduced)."""

    def __init__(self, model: TightBinding):
        n, d = model.size, model.dimension
        self.lattice, positions = np.asarray(model.lattice), np.asarray(model.positions)
        self.radius = SITE_RADIUS * float(model.cell_volume / n) ** (1 / d)
        steps = positions[:, None] - positions
        near = np.linalg.norm((steps - np.rint(steps)) @ self.lattice, axis=-1) < self.radius
        count, self.site = connected_components(near, directed=False)
        first = positions[[np.argmax(self.site == a) for a in range(count)]]
        self.offset = np.rint(positions - first[self.site]).astype(int)
        self.centre = np.array([(positions - self.offset)[self.site == a].mean(axis=0) for a in range(count)])
        self.model = eqx.tree_at(lambda m: m.positions, model, self.centre[self.site] + self.offset)
        self.identity = SpaceOperation(np.eye(n), np.eye(d, dtype=int), np.arange(count), np.zeros((count, d), int))

    def turn(self, operation: Operation) -> np.ndarray:
        """The operation on translations: R → R ``turn``, integers (d, d)."""
        turned = self.lattice @ operation.rotation.T
        turn = np.rint(turned @ np.linalg.pinv(self.lattice)).astype(int)
        if not np.allclose(turn @ self.lattice, turned, atol=1e-3 * np.linalg.norm(self.lattice)):
            raise SymmetryError(f"{operation.name} does not map the lattice on itself.")
        return turn

    def image(self, operation: Operation, tolerance: float) -> SpaceOperation:
        """The {g|t} that is a symmetry; the best of them in a supercell."""
        return min(self.images(operation, tolerance), key=lambda image: image.fault)

    def images(self, operation: Operation, tolerance: float) -> list[SpaceOperation]:
        """Every {g|t} that is a symmetry; more than one in a supercell."""
        turn = self.turn(operation)
        k = np.random.default_rng(11).uniform(-0.5, 0.5, (_FIT_POINTS + _TEST_POINTS, len(self.lattice)))
        k = np.asarray(self.model.cartesian(k))
        before = self._hamiltonians(k)
        if operation.antiunitary:
            before, k = before.conj(), -k
        after = self._hamiltonians(k @ operation.rotation.T)
        images = [
            replace(self._image(before, after, turn, *permutation), reverses=operation.antiunitary)
            for permutation in self._permutations(turn)
        ]
        if not images:
            raise SymmetryError(f"{operation.name} does not map the sites of the crystal on each other.")
        rounding = _ROUNDING * np.abs(before).max()
        if any(i.gap <= rounding or (i.fault <= tolerance and i.noise > _UNIQUE) for i in images):
            raise SymmetryError(
                f"what {operation.name} does to the orbitals is not unique: bands are degenerate at every k, or "
                "no hopping connects some orbitals; list the equivalent sites by hand."
            )
        good = [image for image in images if image.fault <= tolerance]
        if not good:
            raise SymmetryError(
                f"{operation.name} is not a symmetry of H(k) on the orbitals: "
                f"matrix elements differ by {min(image.fault for image in images):.2g} eV."
            )
        return good

    def _hamiltonians(self, cartesian: np.ndarray) -> np.ndarray:
        return np.asarray(jax.vmap(self.model.hamiltonian)(cartesian @ np.asarray(self.model.dual).T))

    def _permutations(self, turn: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Where {g|t} puts the sites, and in which cells, for every t (up to lattice vectors) that permutes them."""
        sizes, everyone = np.bincount(self.site), np.arange(len(self.centre))
        rarest = min(sizes, key=lambda size: np.sum(sizes == size))
        alike = np.flatnonzero(sizes == rarest)
        found = []
        for goal in alike:
            turned = self.centre @ turn
            steps = (turned + self.centre[goal] - turned[alike[0]])[:, None] - self.centre
            shift = np.rint(steps).astype(int)
            distance = np.linalg.norm((steps - shift) @ self.lattice, axis=-1)
            target = np.argmin(distance, axis=1)
            close = distance[everyone, target] < self.radius
            if np.all(close) and np.all(np.sort(target) == everyone) and np.all(sizes[target] == sizes):
                found.append((target, shift[everyone, target]))
        return found

    def _image(self, before: np.ndarray, after: np.ndarray, turn, target, shift) -> SpaceOperation:
        """U from Σ_k |U H − H' U|² = U† Q U, a form in the entries U_ij that the permutation allows."""
        i, j = np.nonzero(target[self.site] == self.site[:, None])
        form = np.zeros((len(i), len(i)), complex)
        for h, g in zip(before[:_FIT_POINTS], after[:_FIT_POINTS], strict=True):
            form += (i[:, None] == i) * (h @ h)[np.ix_(j, j)].T + (j[:, None] == j) * (g @ g)[np.ix_(i, i)]
            form -= 2 * g[np.ix_(i, i)] * h[np.ix_(j, j)].T
        squares, vectors = eigh(form / _FIT_POINTS, subset_by_index=[0, min(1, len(i) - 1)])
        matrix = np.zeros_like(before[0])
        matrix[i, j] = vectors[:, 0]
        matrix = polar(matrix)[0]
        residual = np.abs(matrix @ before[_FIT_POINTS:] @ matrix.conj().T - after[_FIT_POINTS:])
        misfit = float(np.sqrt(np.mean(residual**2) * len(matrix)))
        gap = float(np.sqrt(max(squares[1], 0.0))) if len(squares) > 1 else np.inf
        return SpaceOperation(matrix, turn, target, shift, float(residual.max()), misfit, gap)

    def preimage(
        self, image: SpaceOperation, orbitals: Sequence[int], cells: np.ndarray
    ) -> tuple[np.ndarray, tuple[int, ...], np.ndarray]:
        """W (m, m') of ``image``, in ⟨x|S = Σ_a W_xa ⟨a|, with the m' orbitals a and the cell of each, (m', d).

        Those of which nothing arrives at the places x, the ``orbitals`` in their ``cells``, are left out.
        """
        new, back = np.array(orbitals), np.argsort(image.target)[self.site[list(orbitals)]]
        home = (cells + self.offset[new] - image.shift[back]) @ np.rint(np.linalg.inv(image.turn)).astype(int)
        sources = np.unique(np.column_stack([back, home]), axis=0)
        rows = [(old, source) for source in sources for old in np.flatnonzero(self.site == source[0])]
        old, at = np.array([orbital for orbital, _ in rows]), np.array([source for _, source in rows])
        met = np.all(np.column_stack([back, home])[:, None] == at, axis=-1)
        amplitude = image.matrix[np.ix_(new, old)] * met
        kept = np.abs(amplitude).max(axis=0) > _TINY
        where = at[:, 1:] - self.offset[old]
        return amplitude[:, kept], tuple(old[kept].tolist()), where[kept]

    def moved(self, image: SpaceOperation, local: LocalPotential) -> tuple[LocalPotential, np.ndarray]:
        """The image of V on all orbitals of its sites, the first site in cell 0; and the largest |U| of each."""
        potential, orbitals, cells = local
        old = np.array(orbitals)
        target = image.target[self.site[old]]
        cell = (cells + self.offset[old]) @ image.turn + image.shift[self.site[old]]
        places = np.unique(np.column_stack([target, cell]), axis=0)
        cell, places[:, 1:] = cell - places[0, 1:], places[:, 1:] - places[0, 1:]
        rows = [(new, place) for place in places for new in np.flatnonzero(self.site == place[0])]
        new = np.array([orbital for orbital, _ in rows])
        at = np.array([place for _, place in rows])
        met = np.all(at[:, None] == np.column_stack([target, cell]), axis=-1)
        amplitude = image.matrix[np.ix_(new, old)] * met
        whole = (amplitude @ potential @ amplitude.conj().T, tuple(new.tolist()), at[:, 1:] - self.offset[new])
        return whole, np.abs(amplitude).max(axis=1)


def _part(local: LocalPotential, kept: np.ndarray) -> LocalPotential:
    """The orbitals ``kept``, the first of them in cell 0."""
    potential, orbitals, cells = local
    return potential[np.ix_(kept, kept)], tuple(np.array(orbitals)[kept].tolist()), (cells - cells[kept][0])[kept]


def _same(one: LocalPotential, other: LocalPotential, noise: float) -> bool:
    """Equal potentials on the whole sites, up to rounding and ten times the error of U."""
    if one[1] != other[1] or not np.array_equal(one[2], other[2]):
        return False
    return bool(np.linalg.norm(one[0] - other[0]) <= max(_ROUNDING, 10 * noise) * np.linalg.norm(one[0]))


def _checked(model: TightBinding, potential: ArrayLike, orbitals: Sequence[int], cells: ArrayLike | None):
    matrix, chosen, d = np.asarray(potential, complex), np.asarray(orbitals), model.dimension
    m = len(chosen)
    if chosen.ndim != 1 or m == 0 or chosen.dtype.kind not in "iu" or chosen.min() < 0 or chosen.max() >= model.size:
        raise ConfigError(f"orbitals={orbitals} must list integers from 0 to {model.size - 1}.")
    if matrix.shape != (m, m) or not np.allclose(matrix, matrix.conj().T):
        raise ConfigError(f"potential must be a Hermitian ({m}, {m}) matrix, one row per orbital.")
    steps = np.zeros((m, d), int) if cells is None else np.asarray(cells)
    if steps.shape != (m, d) or steps.dtype.kind not in "iu":
        raise ConfigError(f"cells must be ({m}, {d}) integers, one row per orbital.")
    if len(np.unique(np.column_stack([chosen, steps]), axis=0)) < m:
        raise ConfigError(f"orbitals={orbitals} lists the same orbital of a cell twice.")
    return matrix, tuple(chosen.tolist()), steps
