"""Point groups: operations, what they allow, and their verification on H(k)."""

from jaxkin.symmetry.groups import allowed_components, group_name, point_group, project_gyrotropic
from jaxkin.symmetry.operations import Operation
from jaxkin.symmetry.representation import orbital_representation, partners
from jaxkin.symmetry.selection import Forbidden, allowed, forbidden, is_gyrotropic
from jaxkin.symmetry.verify import (
    Violation,
    find_symmetries,
    is_symmetry,
    verify_point_group,
    verify_symmetries,
    violations,
)

__all__ = [
    "Forbidden",
    "Operation",
    "Violation",
    "allowed",
    "allowed_components",
    "find_symmetries",
    "forbidden",
    "group_name",
    "is_gyrotropic",
    "is_symmetry",
    "orbital_representation",
    "partners",
    "point_group",
    "project_gyrotropic",
    "verify_point_group",
    "verify_symmetries",
    "violations",
]
