# What `import jaxkin as jk` offers, in the order of the pipeline: __init__.py loads a name when it is used first.
# isort: skip_file
from . import models, quantum, symmetry, units
from .errors import (
    AccuracyWarning,
    ConfigError,
    FileFormatError,
    FileFormatWarning,
    JaxkinError,
    ModelError,
    SymmetryError,
)
from .memory import memory_limit
from .hamiltonian import BlochModel, KdotP, TightBinding, read_wannier90
from .hamiltonian import Structure, from_pythtb, from_wannierberri, read_tbmodels
from .bands import BandPath, band_path
from .symmetry import find_symmetries, verify_point_group, verify_symmetries
from .geometry import BandGeometry, band_geometry
from .observable import Observable
from .estimate import Estimate
from .surface import BandEdges, Grid, Lines, Surface, Surfaces, ThermalGrid
from .surface import band_edges, fermi_level, fermi_surface, fermi_surfaces
from .disorder import (
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
from .response import Conductivity, GyrotropicResponse, LinearResponse, RelaxationModes
from .response import conductivity, gyrotropic_response, linear_response, relaxation_modes
from .fitting import (
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

__version__: str

__all__ = [
    "AccuracyWarning",
    "BandEdges",
    "BandFit",
    "BandGeometry",
    "BandPath",
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
    "LinearResponse",
    "Lines",
    "Mixture",
    "ModelError",
    "Observable",
    "Parameter",
    "PointImpurity",
    "Posterior",
    "Profile",
    "RealSpace",
    "RelaxationModes",
    "RelaxationTime",
    "ScreenedCoulomb",
    "State",
    "Structure",
    "Surface",
    "Surfaces",
    "SymmetryError",
    "Table",
    "ThermalGrid",
    "TightBinding",
    "band_edges",
    "band_geometry",
    "band_path",
    "conductivity",
    "design",
    "fermi_level",
    "fermi_surface",
    "fermi_surfaces",
    "find_symmetries",
    "fit",
    "fit_bands",
    "from_pythtb",
    "from_wannierberri",
    "gyrotropic_response",
    "linear_response",
    "memory_limit",
    "models",
    "pair_integral",
    "quantum",
    "read_data",
    "read_tbmodels",
    "read_wannier90",
    "relaxation_modes",
    "sample_posterior",
    "symmetry",
    "tabulate",
    "tabulate_window",
    "units",
    "verify_point_group",
    "verify_symmetries",
]
