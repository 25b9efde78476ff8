"""The 32 crystallographic point groups by Schoenflies name, and what they allow."""

from __future__ import annotations

from functools import cache

import numpy as np

from jaxkin.errors import ConfigError, nearest
from jaxkin.symmetry.operations import Operation, generated, rotation

_Z, _X, _XYZ = (0, 0, 1), (1, 0, 0), (1, 1, 1)
_INVERSION = -np.eye(3)
_MIRROR_Z = np.diag([1.0, 1.0, -1.0])
_MIRROR_X = np.diag([-1.0, 1.0, 1.0])


def _cyclic(n: int) -> list[np.ndarray]:
    return [rotation(_Z, n)]


def _dihedral(n: int) -> list[np.ndarray]:
    return [rotation(_Z, n), rotation(_X, 2)]


_TETRAHEDRAL = [rotation(_Z, 2), rotation(_XYZ, 3)]
_OCTAHEDRAL = [rotation(_Z, 4), rotation(_XYZ, 3)]
_S4 = [-rotation(_Z, 4)]

GENERATORS: dict[str, list[np.ndarray]] = {
    "C1": [np.eye(3)],
    "Ci": [_INVERSION],
    "Cs": [_MIRROR_Z],
    **{f"C{n}": _cyclic(n) for n in (2, 3, 4, 6)},
    **{f"C{n}h": [*_cyclic(n), _MIRROR_Z] for n in (2, 3, 4, 6)},
    **{f"C{n}v": [*_cyclic(n), _MIRROR_X] for n in (2, 3, 4, 6)},
    **{f"D{n}": _dihedral(n) for n in (2, 3, 4, 6)},
    **{f"D{n}h": [*_dihedral(n), _MIRROR_Z] for n in (2, 3, 4, 6)},
    "D2d": [*_S4, rotation(_X, 2)],
    "D3d": [*_dihedral(3), _INVERSION],
    "S4": _S4,
    "S6": [*_cyclic(3), _INVERSION],
    "T": _TETRAHEDRAL,
    "Th": [*_TETRAHEDRAL, _INVERSION],
    "Td": [*_TETRAHEDRAL, *_S4],
    "O": _OCTAHEDRAL,
    "Oh": [*_OCTAHEDRAL, _INVERSION],
}
"""Principal axis z; secondary two-fold axis, or the normal of the vertical mirror, x."""


def point_group(name: str, *, turn: float = 0.0) -> list[Operation]:
    """Operations of a point group: docs/theory.md, "Symmetry".

    Args:
        name: of Schoenflies, such as "D3". The principal axis is z, a secondary one, or a vertical mirror's normal, x.
        turn: angle in rad by which the secondary axes are turned about z.

    Raises:
        ConfigError: not one of the 32 Schoenflies names.

    >>> import jaxkin as jk
    >>> len(jk.symmetry.point_group("D3"))
    6
    """
    if not isinstance(name, str) or name not in GENERATORS:
        raise ConfigError(f"point group {name!r} is not a Schoenflies name{nearest(name, GENERATORS)}.")
    c, s = np.cos(turn), np.sin(turn)
    frame = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return [Operation(frame @ matrix @ frame.T) for matrix in generated(GENERATORS[name])]


def group_name(operations: list[Operation]) -> str:
    """Schoenflies name of the unitary operations of a group, or "unknown": docs/theory.md, "Symmetry".

    The number of operations of each kind (det, order) identifies each of the 32 groups.

    >>> import jaxkin as jk
    >>> jk.symmetry.group_name(jk.symmetry.point_group("D3"))
    'D3'
    """
    return _by_kinds().get(_kinds(operations), "unknown")


def _kinds(operations: list[Operation]) -> frozenset:
    pairs = [(op.determinant, op.order) for op in operations if not op.antiunitary]
    return frozenset((pair, pairs.count(pair)) for pair in pairs)


@cache
def _by_kinds() -> dict[frozenset, str]:
    return {_kinds([Operation(m) for m in generated(GENERATORS[name])]): name for name in GENERATORS}


def project_gyrotropic(operations: list[Operation], tensor: np.ndarray) -> np.ndarray:
    """Part of g_ab (..., 3, 3) that a group allows: the mean of det(R) R g Rᵀ.

    g is axial and even under time reversal (m and v both change sign, Eq. (10)), so that an antiunitary
    operation constrains it like its unitary part.

    Args:
        operations: a whole group.
        tensor: g, (..., 3, 3), in any unit.

    >>> import jaxkin as jk
    >>> jk.symmetry.project_gyrotropic(jk.symmetry.point_group("D3"), np.diag([1.0, 3.0, 5.0])).diagonal().round(6)
    array([2., 2., 5.])
    """
    parts = [op.determinant * op.rotation @ tensor @ op.rotation.T for op in operations]
    return sum(parts[1:], start=parts[0]) / len(parts)


def allowed_components(operations: list[Operation]) -> np.ndarray:
    """(3, 3) booleans: which components of g_ab a group allows to be non-zero, docs/theory.md, "Symmetry".

    >>> import jaxkin as jk
    >>> int(jk.symmetry.allowed_components(jk.symmetry.point_group("C4v")).sum())  # g_xy = −g_yx
    2
    """
    basis = np.eye(9).reshape(9, 3, 3)
    return np.abs(project_gyrotropic(operations, basis)).max(axis=0) > 1e-9
