"""Quantum transport with averaged Green functions: what the Boltzmann equation is checked against."""

from jaxkin.quantum.gyrotropic import Quality, QuantumResponse, gyrotropic

__all__ = ["Quality", "QuantumResponse", "gyrotropic"]
