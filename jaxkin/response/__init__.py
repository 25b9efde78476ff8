"""Linear response: gyrotropic tensor, local conductivity, and observables."""

from jaxkin.response.conductivity import Conductivity, conductivity
from jaxkin.response.gyrotropic import GyrotropicResponse, gyrotropic_response
from jaxkin.response.tensors import conductivity_tensor, gyrotropic_tensor

__all__ = [
    "Conductivity",
    "GyrotropicResponse",
    "conductivity",
    "conductivity_tensor",
    "gyrotropic_response",
    "gyrotropic_tensor",
]
