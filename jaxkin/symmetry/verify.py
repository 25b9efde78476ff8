"""Symmetries of H(k), found or checked on energies, velocities, curvatures and moments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxkin.checks import SMALLEST, check_kind, check_number
from jaxkin.errors import SymmetryError
from jaxkin.geometry import geometry_of_all_bands
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.spectrum import Spectrum
from jaxkin.hamiltonian.tight_binding import TightBinding
from jaxkin.hamiltonian.tiles import tile_rows
from jaxkin.symmetry.groups import group_name, point_group
from jaxkin.symmetry.operations import Operation, lattice_rotations

ENERGY_TOLERANCE = 2e-3
"""eV: Wannier models keep the symmetry of their crystal to about a meV."""
MOST_TOLERANCE = 1.0
"""eV, beyond which most bands have every symmetry."""
VECTOR_TOLERANCE = 0.1
"""Of the vectors' root mean square over bands and k; a wrong sign or axis gives about 1."""
_TEST_POINTS = 4


class _Probe:
    """Bands at a few random k, and whether operations map them on those at the mapped k."""

    def __init__(self, model: BlochModel, tolerance: float, vectors: float = VECTOR_TOLERANCE):
        check_kind("model", model, BlochModel, "a Bloch model, such as jaxkin.models.get('tellurium')")
        meaning = f"a positive energy in eV, at most {MOST_TOLERANCE:g}"
        check_number("tolerance", tolerance, meaning, least=SMALLEST, most=MOST_TOLERANCE)
        self.model, self.tolerance, self.vectors = model, tolerance, vectors
        lo, hi = np.array(model.zone).T
        centre = np.zeros_like(lo) if model.periodic else 0.5 * (lo + hi)
        offset = np.random.default_rng(7).uniform(-0.3, 0.3, (_TEST_POINTS, len(lo))) * (hi - lo)
        self.k = np.asarray(model.cartesian(centre + offset))

    def violations(self, operations: Sequence[Operation]) -> list[Violation]:
        """How well each operation is a symmetry; vectors are compared where energies agree."""
        energies = Spectrum(self.model)(self._mapped(operations)).reshape(-1, _TEST_POINTS, self.model.size)
        energy = np.abs(energies[1:] - energies[0])
        faults = [self._of_energies(one) for one in energy]
        good = [number for number, fault in enumerate(faults) if fault is None]
        vectors = self._vectors([operations[number] for number in good]) if good else {}
        original = {name: found[0] for name, found in vectors.items()}
        for place, number in enumerate(good, start=1):
            mapped = {name: found[place] for name, found in vectors.items()}
            faults[number] = self._of_vectors(operations[number], original, mapped)
        return [Violation(float(one.max()), fault) for one, fault in zip(energy, faults, strict=True)]

    def kept(self, operations: Sequence[Operation]) -> list[Operation]:
        """Those that are symmetries."""
        return [op for op, found in zip(operations, self.violations(operations), strict=True) if found.fault is None]

    def _mapped(self, operations: Sequence[Operation]) -> np.ndarray:
        """The random k and after them their images under each operation, one after the other, in model coordinates."""
        images = [(-1 if op.antiunitary else 1) * self.k @ op.rotation.T for op in operations]
        return np.concatenate([self.k, *images]) @ np.asarray(self.model.dual).T

    def _vectors(self, operations: Sequence[Operation]) -> dict[str, np.ndarray]:
        """(1 + operations, points · n, 3) of each name, at the random k first."""
        k, rows = self._mapped(operations), tile_rows(self.model, arrays=12)
        parts = [geometry_of_all_bands(self.model.packed(), k[i : i + rows]) for i in range(0, len(k), rows)]
        return {
            name: np.concatenate([part[name] for part in parts]).reshape(1 + len(operations), -1, 3)
            for name in parts[0]
        }

    def _of_energies(self, energy: np.ndarray) -> str | None:
        where, band = np.unravel_index(int(np.argmax(energy)), energy.shape)
        if energy[where, band] <= self.tolerance:
            return None
        k = np.round(self.k[where], 3)
        return f"the energy of band {band} differs by {energy[where, band]:.2g} eV at k = {k} Å⁻¹"

    def _of_vectors(self, op: Operation, original: dict[str, np.ndarray], mapped: dict[str, np.ndarray]) -> str | None:
        sign = -1 if op.antiunitary else 1
        for name, parity in (("velocity", 1), ("orbital_moment", op.determinant), ("berry_curvature", op.determinant)):
            expected = sign * parity * original[name] @ op.rotation.T
            difference = mapped[name] - expected
            # Curvature grows without bound near crossings: weigh every state by its own size.
            size = np.linalg.norm(expected, axis=1)
            scale = np.maximum(size, np.sqrt(np.mean(np.minimum(size, np.median(size)) ** 2)) + 1e-6)
            if np.sqrt(np.mean((np.linalg.norm(difference, axis=1) / scale) ** 2)) > self.vectors:
                return f"the {name.replace('_', ' ')} does not follow it"
        return None


class Violation(NamedTuple):
    """How well an operation is a symmetry of H(k): docs/theory.md, "Symmetry".

    Attributes:
        energy: by how much energies differ at most, in eV, at a few random k.
        fault: why it is none, in words; None if it is one.
    """

    energy: float
    fault: str | None


def violation(model: BlochModel, operation: Operation, *, tolerance: float = ENERGY_TOLERANCE) -> Violation:
    """How well an operation is a symmetry of H(k).

    >>> import jaxkin as jk, numpy as np
    >>> found = violation(jk.models.get("haldane"), jk.symmetry.Operation(np.eye(3), antiunitary=True))
    >>> found.fault
    'the energy of band 0 differs by 0.18 eV at k = ... Å⁻¹'
    """
    return violations(model, [operation], tolerance=tolerance)[0]


def violations(
    model: BlochModel, operations: Sequence[Operation], *, tolerance: float = ENERGY_TOLERANCE
) -> list[Violation]:
    """How well each of several operations is a symmetry of H(k), at the same k: docs/theory.md, "Symmetry".

    Args:
        model: any Bloch model.
        operations: to be tried.
        tolerance: by which energies of equivalent k may differ, in eV.

    Raises:
        JaxkinError: no model, or a tolerance that is not positive and at most 1 eV.

    >>> import jaxkin as jk
    >>> inversion = jk.symmetry.Operation(-np.eye(3))
    >>> [one.fault is None for one in violations(jk.models.get("kramers-weyl-o"), [inversion])]
    [False]
    """
    return _Probe(model, tolerance).violations(operations)


def is_symmetry(model: BlochModel, operation: Operation, *, tolerance: float = ENERGY_TOLERANCE) -> bool:
    """Whether an operation is a symmetry of H(k): docs/theory.md, "Symmetry".

    Args:
        model: any Bloch model.
        operation: to be tried.
        tolerance: by which energies of equivalent k may differ, in eV.

    Raises:
        JaxkinError: no model, or a tolerance that is not positive and at most 1 eV.

    >>> import jaxkin as jk, numpy as np
    >>> time_reversal = jk.symmetry.Operation(np.eye(3), antiunitary=True)
    >>> jk.symmetry.is_symmetry(jk.models.get("haldane"), time_reversal)
    False
    """
    return violation(model, operation, tolerance=tolerance).fault is None


def verify_symmetries(model: BlochModel, operations: list[Operation], *, tolerance: float = ENERGY_TOLERANCE) -> None:
    """Check that every operation is a symmetry of H(k): docs/theory.md, "Symmetry".

    Energies must agree within ``tolerance`` at random k; velocity, orbital moment and Berry
    curvature must transform as polar and axial vectors (which tells inversion from time reversal).

    Args:
        model: any Bloch model.
        operations: such as :func:`jaxkin.symmetry.point_group` makes.
        tolerance: in eV.

    Raises:
        SymmetryError: names the first operation that is not a symmetry, and how it fails.
        JaxkinError: no model, or a tolerance that is not positive and at most 1 eV.

    >>> import jaxkin as jk
    >>> jk.verify_symmetries(jk.models.get("kramers-weyl-o"), jk.symmetry.point_group("O"))
    """
    for op, found in zip(operations, _Probe(model, tolerance).violations(operations), strict=True):
        if found.fault:
            raise SymmetryError(f"{op.name} is not a symmetry of H(k): {found.fault}.")


def find_symmetries(model: BlochModel, *, tolerance: float = ENERGY_TOLERANCE) -> list[Operation]:
    """All point operations of H(k), with and without time reversal.

    Candidates are the lattice's rotations; for a k·p model those of a cube and of a hexagonal prism
    along z. What they are used for: docs/method.md, "Symmetry".

    Args:
        model: any Bloch model.
        tolerance: by which energies of equivalent k may differ, in eV; what is derived from them in proportion.

    Returns:
        Operations with Cartesian matrices (3, 3), the identity among them.

    Raises:
        JaxkinError: no model, or a tolerance that is not positive and at most 1 eV.

    >>> import jaxkin as jk
    >>> operations = jk.find_symmetries(jk.models.get("kramers-weyl-d3"))
    >>> len(operations), sum(one.antiunitary for one in operations)  # D3, and with time reversal
    (12, 6)
    """
    probe = _Probe(model, tolerance)
    if isinstance(model, TightBinding):
        candidates = lattice_rotations(np.asarray(model.lattice))
    else:
        candidates = [op.rotation for op in [*point_group("Oh"), *point_group("D6h")]]
        candidates = [c for i, c in enumerate(candidates) if not any(np.allclose(c, other) for other in candidates[:i])]
        if model.dimension < 3:
            flat = np.diag([1.0] * model.dimension + [0.0] * (3 - model.dimension))
            rest = np.eye(3) - flat
            candidates = [c for c in candidates if np.allclose(c @ rest, rest) and np.allclose(flat @ c @ rest, 0)]
    operations = [Operation(c, antiunitary) for antiunitary in (False, True) for c in candidates]
    return probe.kept(operations)


def strictly_kept(
    model: BlochModel, operations: Sequence[Operation], *, tolerance: float, vectors: float
) -> list[Operation]:
    """The operations under which energies agree within ``tolerance`` (eV) and vectors within ``vectors`` of their size.

    Wannier centres that lie slightly off their sites leave the energies symmetric and the orbital moments not.
    """
    return _Probe(model, tolerance, vectors).kept(operations)


def verify_point_group(
    model: BlochModel, name: str | None = None, *, tolerance: float = ENERGY_TOLERANCE
) -> list[Operation]:
    """The operations of a point group, each verified on H(k): docs/theory.md, "Symmetry".

    The principal axis is z; the secondary axes may lie along x or turned from it by 30°, 45° or 90°.

    Args:
        model: any Bloch model.
        name: of Schoenflies; by default what the model states.
        tolerance: by which energies of equivalent k may differ, in eV.

    Raises:
        SymmetryError: names an operation of the group that H(k) does not have, and what it has instead; or no group is
            stated.
        ConfigError: not one of the 32 names.
        JaxkinError: no model, or a tolerance that is not positive and at most 1 eV.

    >>> import jaxkin as jk
    >>> model = jk.models.get("kramers-weyl-d4")
    >>> len(jk.verify_point_group(model))
    8
    >>> jk.verify_point_group(model, "O")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    jaxkin.errors.SymmetryError: point group O: C3 about ... is not a symmetry of H(k): ...
    """
    name = name or model.point_group
    if name is None:
        raise SymmetryError("the model states no point group; find_symmetries(model) finds its operations.")
    probe = _Probe(model, tolerance)
    least: tuple[int, str] | None = None
    for turn in (0.0, np.pi / 2, np.pi / 4, np.pi / 6):
        operations = point_group(name, turn=turn)
        found = zip(operations, probe.violations(operations), strict=True)
        faults = [(op, one.fault) for op, one in found if one.fault]
        if not faults:
            return operations
        if least is None or len(faults) < least[0]:
            op, fault = faults[0]
            least = (len(faults), f"{op.name} is not a symmetry of H(k): {fault}")
    assert least is not None
    found = group_name(find_symmetries(model, tolerance=tolerance))
    raise SymmetryError(f"point group {name}: {least[1]}; H(k) has point group {found}.")
