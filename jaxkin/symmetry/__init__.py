"""Point groups: operations, what they allow, and their verification on H(k)."""

from jaxkin.symmetry.groups import allowed_components, group_name, point_group, project_gyrotropic
from jaxkin.symmetry.operations import Operation
from jaxkin.symmetry.representation import orbital_representation, partners
from jaxkin.symmetry.verify import find_symmetries, is_symmetry, verify_point_group, verify_symmetries

__all__ = [
    "Operation",
    "allowed_components",
    "find_symmetries",
    "group_name",
    "is_symmetry",
    "orbital_representation",
    "partners",
    "point_group",
    "project_gyrotropic",
    "verify_point_group",
    "verify_symmetries",
]
