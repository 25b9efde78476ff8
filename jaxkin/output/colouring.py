"""What a surface can be coloured by: components and lengths of all that is known at the corners of its mesh."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxkin.errors import JaxkinError, nearest
from jaxkin.surface.mesh import Mesh

UNITS = {"velocity": "eV A", "orbital_moment": "mu_B", "berry_curvature": "A^2", "skew_acceleration": "eV A/ps"}
MOST_PANELS = 6


class Colouring(NamedTuple):
    """Numbers at the vertices, (V,), with a label; signed ones get a range of colours that is symmetric about zero."""

    label: str
    values: np.ndarray
    signed: bool


def known(mesh: Mesh) -> dict[str, np.ndarray]:
    """All that is known at the corners, (V,) or (V, 3)."""
    names = ("orbital_moment", "velocity", "berry_curvature")
    return {**{name: getattr(mesh, name) for name in names}, **mesh.further}


def colourings(mesh: Mesh) -> dict[str, Colouring]:
    """By name: ``"velocity"`` is a vector's length, ``"velocity_x"`` a component."""
    found = {}
    for name, values in known(mesh).items():
        unit = f" ({UNITS[name]})" if name in UNITS else ""
        label = name.replace("_", " ")
        if values.ndim == 1:
            found[name] = Colouring(label + unit, values, bool(values.min(initial=0) < 0 < values.max(initial=0)))
            continue
        found[name] = Colouring(f"|{label}|{unit}", np.linalg.norm(values, axis=1), False)
        for a, axis in enumerate("xyz"):
            found[f"{name}_{axis}"] = Colouring(f"{label} {axis}{unit}", values[:, a], True)
    return found


def chosen(mesh: Mesh, names: Sequence[str]) -> list[Colouring]:
    """Those of ``names``, or, without any, the largest component of the moment and |Q|, where it is known, or |v|.

    Raises:
        JaxkinError: a name that is none of them, or more than a picture holds.
    """
    every = colourings(mesh)
    for name in names:
        if name not in every:
            raise JaxkinError(f"colour {name!r} is unknown{nearest(name, every)}; choose {', '.join(every)}.")
    if len(names) > MOST_PANELS:
        raise JaxkinError(f"{len(names)} colours: one picture holds at most {MOST_PANELS}.")
    if not names:
        axis = "xyz"[int(np.argmax(np.mean(mesh.orbital_moment**2, axis=0)))]
        skewed = "skew_acceleration" in every and np.any(every["skew_acceleration"].values)
        names = [f"orbital_moment_{axis}", "skew_acceleration" if skewed else "velocity"]
    return [every[name] for name in names]
