"""Linear response: gyrotropic tensor, local conductivity, and observables."""

from jaxkin.response.conductivity import Conductivity, conductivity
from jaxkin.response.gyrotropic import GyrotropicResponse, gyrotropic_response
from jaxkin.response.linear import LinearResponse, linear_response

__all__ = [
    "Conductivity",
    "GyrotropicResponse",
    "LinearResponse",
    "conductivity",
    "gyrotropic_response",
    "linear_response",
]
