"""Bloch Hamiltonians: tight binding, k·p, and files of Wannier90."""

from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.kdotp import KdotP
from jaxkin.hamiltonian.tight_binding import TightBinding
from jaxkin.hamiltonian.wannier90 import read_wannier90

__all__ = ["BlochModel", "KdotP", "TightBinding", "read_wannier90"]
