"""Models of PythTB, versions 1.8 and 2: its objects are read as they are, and PythTB itself is not imported."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxkin.errors import ModelError
from jaxkin.hamiltonian.confined import confined
from jaxkin.hamiltonian.tight_binding import TightBinding

PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])

Hop = tuple[Any, int, int, Any]
"""⟨0i|H|Rj⟩, i, j, R."""


def from_pythtb(model: Any, *, point_group: str | None = None) -> TightBinding:
    """The :class:`TightBinding` model of a PythTB object, ``pythtb.tb_model`` (1.8) or ``pythtb.TBModel`` (2).

    H_ij(k) = Σ_R exp[ik·(R + τ_j − τ_i)] ⟨0i|H|Rj⟩ in both programs; each hop of PythTB is one with its Hermitian
    conjugate. PythTB has no units: energies are taken in eV and lengths in Å. With two spin components the
    orbitals are those of PythTB, each twice (↑, ↓), and their Pauli matrices make the spin moment. In directions that
    are not periodic the positions of the orbitals act through the position operator. An example:
    docs/tutorials/pythtb.md.

    Args:
        model: with 1 to 3 periodic directions.
        point_group: Schoenflies name if known; see :func:`jaxkin.verify_point_group`.

    Raises:
        ModelError: no PythTB model, no periodic direction or more than three dimensions, parameters without a value.

    >>> import pytest
    >>> pythtb = pytest.importorskip("pythtb", exc_type=ImportError)
    >>> import jaxkin as jk
    >>> chain = pythtb.tb_model(1, 1, lat=[[2.0]], orb=[[0.0]])
    >>> chain.set_hop(-1.0, 0, 0, [1])
    >>> [round(float(jk.from_pythtb(chain).bands([k])[0]), 6) for k in (0.0, 0.5)]
    [-2.0, 2.0]
    """
    if hasattr(model, "lattice") and hasattr(model, "onsite"):
        shape = (model.dim_r, model.dim_k, model.nspin)
        cell, centres, periodic = model.lat_vecs, model.orb_vecs, model.periodic_dirs
        onsite, hops = model.onsite, _hops_of_version_2(model)
    elif hasattr(model, "_hoppings") and hasattr(model, "_site_energies"):
        shape = (model._dim_r, model._dim_k, model._nspin)
        cell, centres, periodic = model._lat, model._orb, model._per
        onsite, hops = model._site_energies, [(*hop, *((0,) if len(hop) == 3 else ())) for hop in model._hoppings]
    else:
        raise ModelError(f"model={type(model).__name__} must be a PythTB model, pythtb.tb_model or pythtb.TBModel.")
    dimension, wave_vectors, spins = shape
    if not 1 <= wave_vectors <= 3 or dimension > 3:
        raise ModelError(
            f"the PythTB model has {wave_vectors} periodic directions in {dimension} dimensions; 1 to 3 can be read."
        )
    kept = list(periodic)
    place: dict[tuple[int, ...], int] = {(0,) * wave_vectors: 0}
    for _, _, _, step in hops:
        there = tuple(int(x) for x in np.asarray(step, int)[kept])
        for one in (there, tuple(-x for x in there)):
            place.setdefault(one, len(place))
    n = len(centres)
    matrices = np.zeros((len(place), n, spins, n, spins), complex)
    for i, value in enumerate(onsite):
        matrices[0, i, :, i, :] += value
    for value, i, j, step in hops:
        there = tuple(int(x) for x in np.asarray(step, int)[kept])
        block = np.asarray(value, complex) * (np.eye(1) if spins == 1 else 1)
        matrices[place[there], i, :, j, :] += block
        matrices[place[tuple(-x for x in there)], j, :, i, :] += block.conj().T
    lattice = np.zeros((dimension, 3))
    lattice[:, :dimension] = cell
    where = np.repeat(np.asarray(centres, float), spins, axis=0)
    steps = np.array(list(place))
    return TightBinding(
        lattice[kept],
        steps,
        matrices.reshape(len(place), n * spins, n * spins),
        where[:, kept],
        confined(lattice, kept, steps, where),
        np.array([np.kron(np.eye(n), sigma) for sigma in PAULI]) if spins == 2 else None,
        point_group=point_group,
    )


def _hops_of_version_2(model: Any) -> list[Hop]:
    """Hops with a number each; R is left out where it is zero."""
    names = sorted({str(name) for term in model.parameters for name in term["names"]})
    if names:
        raise ModelError(f"the PythTB model has parameters without a value, {', '.join(names)}: set_parameters first.")
    zero = [0] * model.dim_r
    return [
        (hop["amplitude"], hop["from_orbital"], hop["to_orbital"], hop.get("lattice_vector", zero))
        for hop in model.hoppings
    ]
