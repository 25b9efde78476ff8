"""jaxkin: gyrotropic response of disordered noncentrosymmetric metals, from a Bloch Hamiltonian.

The theory, whose equations docstrings number, is that of J. Rou, C. Şahin, J. Ma, D. A. Pesin, "Kinetic orbital moments
and nonlocal transport in disordered metals with nontrivial geometry" (2017): "the paper". Other sources are named.

The names stand in ``__init__.pyi`` in the order of the pipeline: model → band geometry → surface points → disorder →
response → fit. Each is loaded when it is used first, so that the import itself costs next to nothing.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
