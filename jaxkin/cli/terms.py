"""Which operators a Wannier model has beyond H, and how much they matter: lines of ``jaxkin info``."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import equinox as eqx
import msgspec
import numpy as np
from jaxtyping import Array

from jaxkin import units
from jaxkin.cli.config import ModelConfig
from jaxkin.cli.ingredients import build_model
from jaxkin.geometry import geometry_of_all_bands
from jaxkin.hamiltonian import BlochModel, TightBinding
from jaxkin.hamiltonian.wannier90 import NAME

POINTS = 16
"""Random k at which bands are compared with and without a term."""
POSITIONS, MOMENTS = ("position_matrices",), ("hr_matrices", "rhr_matrices")
ABSENT = "not in the files (.mmn and .uHu): the moment lacks what they add"


def terms(config: ModelConfig, model: BlochModel) -> list[tuple[str, str]]:
    """Name and verdict of each operator, for models of Wannier90's files; none for others.

    The size of a term is its root mean square over all bands and a few random k, relative to that with it.
    """
    named = NAME.fullmatch(Path(config.file or "").name)
    if named is None or not isinstance(model, TightBinding):
        return []
    lines, fuller = [("spin", "none" if model.spin is None else "in")], model
    if model.position_matrices is None and named[2] != "hr":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what was said when the file was read the first time
            read = build_model(msgspec.structs.replace(config, position_matrices=True))
        assert isinstance(read, TightBinding)
        fuller = read
    if fuller.position_matrices is None:
        lines.append(("⟨r⟩ between functions", "not in the files"))
        lines.append(("⟨Hr⟩ and ⟨rHr⟩", ABSENT))
        return lines
    whole, inner = _geometry(fuller), _geometry(_without(fuller, POSITIONS + MOMENTS))
    outer = whole["berry_curvature"] - inner["berry_curvature"]
    in_ = "in" if fuller is model else "left out (position_matrices = true puts it in)"
    lines.append(("⟨r⟩ between functions", f"{in_}: {_share(outer, whole['berry_curvature'])} of the Berry curvature"))
    if fuller.hr_matrices is None:
        lines.append(("⟨Hr⟩ and ⟨rHr⟩", f"{ABSENT}, of the order of {_outside(fuller, outer):.2g} μ_B"))
        return lines
    added = whole["orbital_moment"] - _geometry(_without(fuller, MOMENTS))["orbital_moment"]
    share = _share(added, whole["orbital_moment"] - whole["spin_moment"])
    lines.append(("⟨Hr⟩ and ⟨rHr⟩", f"{'in' if fuller is model else 'left out'}: {share} of the orbital moment"))
    return lines


def _without(model: TightBinding, names: tuple[str, ...]) -> TightBinding:
    return eqx.tree_at(lambda m: [getattr(m, name) for name in names], model, [None] * len(names), is_leaf=_is_none)


def _is_none(leaf: Any) -> bool:
    return leaf is None


def _k(model: TightBinding) -> np.ndarray:
    return np.random.default_rng(0).random((POINTS, model.dimension))


def _geometry(model: TightBinding) -> dict[str, Array]:
    """Of all bands at the random k."""
    return geometry_of_all_bands(model, _k(model))


def _share(part: Array, whole: Array) -> str:
    return f"{np.linalg.norm(part) / np.linalg.norm(whole):.2g}"


def _outside(model: TightBinding, outer: Array) -> float:
    """½ W F with W the width of all bands and F the ``outer`` curvature, root mean squares, in μ_B."""
    width = 2 * np.asarray(model.bands(_k(model))).std()
    return float(0.5 * units.MAGNETON_PER_EV_A2 * width * np.sqrt(np.mean(np.square(outer))))
