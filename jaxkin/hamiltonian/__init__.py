"""Bloch Hamiltonians: tight binding, k·p, files of Wannier90 and TBmodels, models of PythTB and WannierBerri; atoms."""

from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.kdotp import KdotP
from jaxkin.hamiltonian.pythtb import from_pythtb
from jaxkin.hamiltonian.structure import Structure
from jaxkin.hamiltonian.tbmodels import read_tbmodels
from jaxkin.hamiltonian.tight_binding import TightBinding
from jaxkin.hamiltonian.wannier90 import read_wannier90
from jaxkin.hamiltonian.wannierberri import from_wannierberri

__all__ = [
    "BlochModel",
    "KdotP",
    "Structure",
    "TightBinding",
    "from_pythtb",
    "from_wannierberri",
    "read_tbmodels",
    "read_wannier90",
]
