"""Which operators a Wannier model has beyond H, and how much they matter: lines of ``jaxkin info``."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Literal

import equinox as eqx
import msgspec
import numpy as np

from jaxkin import units
from jaxkin.cli.config import ModelConfig
from jaxkin.cli.ingredients import build_model
from jaxkin.geometry import batched_geometry
from jaxkin.hamiltonian import BlochModel, TightBinding
from jaxkin.hamiltonian.wannier90 import NAME

POINTS = 16
"""Random k at which bands are compared with and without a term."""
Quantity = Literal["berry_curvature", "orbital_moment"]


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
    else:
        share = f"{_share(fuller, 'position_matrices', 'berry_curvature'):.2g} of the Berry curvature"
        in_ = "in" if fuller is model else "left out (position_matrices = true puts it in)"
        lines.append(("⟨r⟩ between functions", f"{in_}: {share}"))
    if fuller.hr_matrices is not None:
        share = f"{_share(fuller, 'hr_matrices', 'orbital_moment'):.2g} of the orbital moment"
        lines.append(("⟨Hr⟩ and ⟨rHr⟩", f"{'in' if fuller is model else 'left out'}: {share}"))
    else:
        size = "" if fuller.position_matrices is None else f", of the order of {_outside(fuller):.2g} μ_B"
        lines.append(("⟨Hr⟩ and ⟨rHr⟩", f"not in the files (.mmn and .uHu): the moment lacks what they add{size}"))
    return lines


def _without(model: TightBinding, *names: str) -> TightBinding:
    return eqx.tree_at(lambda m: [getattr(m, name) for name in names], model, [None] * len(names))


def _values(model: TightBinding, quantity: Quantity) -> np.ndarray:
    """Of all bands at the random k, without spin."""
    k = np.random.default_rng(0).random((POINTS, model.dimension)).repeat(model.size, axis=0)
    geometry = batched_geometry(model, k, np.tile(np.arange(model.size), POINTS))
    moment = geometry.orbital_moment - geometry.spin_moment
    return np.asarray(moment if quantity == "orbital_moment" else geometry.berry_curvature)


def _share(model: TightBinding, name: str, quantity: Quantity) -> float:
    gone = ("hr_matrices", "rhr_matrices") if name == "hr_matrices" else (name,)
    if name == "position_matrices" and model.hr_matrices is not None:
        gone = (name, "hr_matrices", "rhr_matrices")
    with_, without = _values(model, quantity), _values(_without(model, *gone), quantity)
    return float(np.linalg.norm(with_ - without) / np.linalg.norm(with_))


def _outside(model: TightBinding) -> float:
    """½ W F with W the width of all bands and F the curvature of the space of functions, root mean squares, in μ_B."""
    outer = _values(model, "berry_curvature") - _values(_without(model, "position_matrices"), "berry_curvature")
    energies = np.asarray(model.bands(np.random.default_rng(0).random((POINTS, model.dimension))))
    return float(units.MAGNETON_PER_EV_A2 * energies.std() * np.sqrt(np.mean(outer**2)))
