"""Linear response: gyrotropic tensor, local conductivity, and observables."""

from jaxkin.response.conductivity import Conductivity, conductivity
from jaxkin.response.gyrotropic import GyrotropicResponse, gyrotropic_response
from jaxkin.response.linear import LinearResponse, linear_response
from jaxkin.response.magnetization import Magnetization, spontaneous_magnetization
from jaxkin.response.modes import RelaxationModes, relaxation_modes

__all__ = [
    "Conductivity",
    "GyrotropicResponse",
    "LinearResponse",
    "Magnetization",
    "RelaxationModes",
    "conductivity",
    "gyrotropic_response",
    "linear_response",
    "relaxation_modes",
    "spontaneous_magnetization",
]
