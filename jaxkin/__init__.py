"""jaxkin: gyrotropic response of disordered noncentrosymmetric metals, from a Bloch Hamiltonian.

The names below follow the pipeline: model → band geometry → surface points → disorder → response → fit.
"""

# isort: skip_file
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from jaxkin import models, symmetry, units
from jaxkin.errors import (
    AccuracyWarning,
    ConfigError,
    FileFormatError,
    FileFormatWarning,
    JaxkinError,
    ModelError,
    SymmetryError,
)
from jaxkin.memory import memory_limit
from jaxkin.hamiltonian import BlochModel, KdotP, TightBinding, read_wannier90
from jaxkin.symmetry import find_symmetries, verify_point_group, verify_symmetries
from jaxkin.geometry import BandGeometry, band_geometry
from jaxkin.estimate import Estimate
from jaxkin.surface import Grid, Lines, Surface, Surfaces, ThermalGrid
from jaxkin.surface import fermi_level, fermi_surface, fermi_surfaces
from jaxkin.disorder import (
    Disorder,
    FiniteRangeImpurity,
    Gaussian,
    KernelDisorder,
    Mixture,
    PointImpurity,
    RealSpace,
    RelaxationTime,
    ScreenedCoulomb,
    State,
    pair_integral,
)
from jaxkin.response import Conductivity, GyrotropicResponse, conductivity, gyrotropic_response

if TYPE_CHECKING:
    from jaxkin import quantum
    from jaxkin.fitting import (
        BandFit,
        Data,
        Design,
        FitProblem,
        FitResult,
        Parameter,
        Posterior,
        Profile,
        Table,
        design,
        fit,
        fit_bands,
        read_data,
        sample_posterior,
        tabulate,
        tabulate_window,
    )

try:
    __version__ = version("jaxkin")
except PackageNotFoundError:  # running from a plain checkout
    __version__ = "0+unknown"

__all__ = [
    "AccuracyWarning",
    "BandFit",
    "BandGeometry",
    "BlochModel",
    "Conductivity",
    "ConfigError",
    "Data",
    "Design",
    "Disorder",
    "Estimate",
    "FileFormatError",
    "FileFormatWarning",
    "FiniteRangeImpurity",
    "FitProblem",
    "FitResult",
    "Gaussian",
    "Grid",
    "GyrotropicResponse",
    "JaxkinError",
    "KdotP",
    "KernelDisorder",
    "Lines",
    "Mixture",
    "ModelError",
    "Parameter",
    "PointImpurity",
    "Posterior",
    "Profile",
    "RealSpace",
    "RelaxationTime",
    "ScreenedCoulomb",
    "State",
    "Surface",
    "Surfaces",
    "SymmetryError",
    "Table",
    "ThermalGrid",
    "TightBinding",
    "band_geometry",
    "conductivity",
    "design",
    "fermi_level",
    "fermi_surface",
    "fermi_surfaces",
    "find_symmetries",
    "fit",
    "fit_bands",
    "gyrotropic_response",
    "memory_limit",
    "models",
    "pair_integral",
    "quantum",
    "read_data",
    "read_wannier90",
    "sample_posterior",
    "symmetry",
    "tabulate",
    "tabulate_window",
    "units",
    "verify_point_group",
    "verify_symmetries",
]


def __getattr__(name: str) -> Any:
    """The fits, with the packages that only they need, and the quantum calculation, once they are named."""
    if name == "quantum":
        return import_module("jaxkin.quantum")
    if name in __all__:
        return getattr(import_module("jaxkin.fitting"), name)
    raise AttributeError(f"module 'jaxkin' has no attribute {name!r}")
