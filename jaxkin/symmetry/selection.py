"""Selection rules: which components of a response a group allows, and which operation forbids each other one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np

from jaxkin.symmetry.operations import Operation

Response = Literal["g", "hall"]
XYZ = "xyz"
COMPONENTS: dict[str, tuple[str, ...]] = {
    "g": tuple(a + b for a in XYZ for b in XYZ),
    "hall": ("yz", "zx", "xy"),
}
ZERO = 1e-9


class Forbidden(NamedTuple):
    """Why components of a response vanish: docs/theory.md, "Symmetry".

    Attributes:
        components: those that vanish, such as "xy".
        by: the operations that together forbid each of them.
    """

    components: tuple[str, ...]
    by: tuple[Operation, ...]


def allowed(operations: Sequence[Operation], response: Response = "g") -> tuple[str, ...]:
    """Components that a group allows.

    g_ab is an axial tensor that time reversal keeps, g = det(R) R g Rᵀ; so is χ^me_ab = g_ab − ½δ_ab Tr g, Eq. (86),
    which has the same components. The Hall conductivity σ_ab = −σ_ba is an axial vector that it turns round.

    Args:
        operations: a whole group.
        response: "g", for χ^me too, or "hall".

    >>> import jaxkin as jk
    >>> allowed(jk.symmetry.point_group("C4v")), allowed(jk.symmetry.point_group("C4"), "hall")
    (('xy', 'yx'), ('xy',))
    """
    free = _free(_constraint(operations, response)[None])[0]
    return tuple(name for name, kept in zip(COMPONENTS[response], free, strict=True) if kept)


def is_gyrotropic(operations: Sequence[Operation]) -> bool:
    """Whether a group allows any component of g: of the 32 point groups 18 do, docs/theory.md, "Symmetry".

    >>> import jaxkin as jk
    >>> is_gyrotropic(jk.symmetry.point_group("D2d")), is_gyrotropic(jk.symmetry.point_group("Td"))
    (True, False)
    """
    return bool(allowed(operations, "g"))


def forbidden(operations: Sequence[Operation], response: Response = "g") -> list[Forbidden]:
    """Why each missing component vanishes: a single operation where one is enough, else two, else the group.

    Operations that forbid most come first, so that few are named: docs/questions.md,
    "Which components can I expect, and why is g zero?".

    Args:
        operations: a whole group.
        response: "g", for χ^me too, or "hall".

    >>> import jaxkin as jk
    >>> for rule in forbidden(jk.symmetry.point_group("D3")):
    ...     print(*rule.components, "by", *(op.name for op in rule.by))
    xy xz yx zx by C2 about [1 0 0]
    yz zy by C3 about [0 0 1]
    """
    names = COMPONENTS[response]
    missing = set(names) - set(allowed(operations, response))
    found = []
    ordered = sorted(operations, key=_simplicity)
    for together in (1, 2):
        subsets = list(combinations(ordered, together))
        if not missing or not subsets:
            continue
        free = _free(np.array([_constraint(subset, response) for subset in subsets]))
        while missing:
            kills = [missing & {name for name, kept in zip(names, row, strict=True) if not kept} for row in free]
            best = max(range(len(subsets)), key=lambda n: (len(kills[n]), -n))
            if not kills[best]:
                break
            found.append(Forbidden(tuple(name for name in names if name in kills[best]), subsets[best]))
            missing -= kills[best]
    if missing:
        found.append(Forbidden(tuple(name for name in names if name in missing), tuple(operations)))
    return found


def _simplicity(op: Operation) -> tuple:
    """Time reversal and inversion first, then mirrors, rotations, and what goes with time reversal."""
    plain = op.order == 1
    kind = 0 if plain else 1 if op.determinant < 0 and op.order == 2 else 2 if op.determinant > 0 else 3
    return op.antiunitary and not plain, kind, op.order


def _constraint(operations: Sequence[Operation], response: Response) -> np.ndarray:
    """Σ (ρ − 1)ᵀ(ρ − 1) over operations: zero on what all of them leave as it is."""
    size = len(COMPONENTS[response])
    total = np.zeros((size, size))
    for op in operations:
        if response == "g":
            rho = op.determinant * np.kron(op.rotation, op.rotation)
        else:
            rho = (-1 if op.antiunitary else 1) * op.determinant * op.rotation
        off = rho - np.eye(size)
        total += off.T @ off
    return total


def _free(constraints: np.ndarray) -> np.ndarray:
    """(N, components) which components are not zero in everything that N constraints leave free."""
    values, vectors = np.linalg.eigh(constraints)
    return np.einsum("nca,na->nc", np.abs(vectors) ** 2, values < 1e-6) > ZERO
