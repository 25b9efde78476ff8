"""Linear response: gyrotropic tensor, local conductivity, and observables."""

from jaxkin.response.conductivity import Conductivity, conductivity
from jaxkin.response.gyrotropic import GyrotropicResponse, gyrotropic_response

__all__ = [
    "Conductivity",
    "GyrotropicResponse",
    "conductivity",
    "gyrotropic_response",
]
