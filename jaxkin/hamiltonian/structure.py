"""The atoms of a crystal: what sits where, the point group of that, and which atom an orbital belongs to."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxkin.checks import numbers
from jaxkin.errors import JaxkinError, ModelError, nearest
from jaxkin.hamiltonian.crystal_files import atoms_from_win
from jaxkin.hamiltonian.tight_binding import TightBinding

SYMMETRIC = 1e-3
"""Å to which images of atoms must agree: files carry four digits and more."""


class Sites(NamedTuple):
    """Which atom each orbital sits on.

    Attributes:
        atom: (n,) index of the nearest atom.
        distance: (n,) from it in Å.
    """

    atom: np.ndarray
    distance: np.ndarray


class Structure:
    """Lattice and atoms of a crystal: docs/your_material.md, "1. Look at the file".

    Args:
        lattice: (3, 3) rows a_i in Å.
        positions: (N, 3) reduced.
        species: N names, or atomic numbers.

    Raises:
        ModelError: shapes that do not fit.
        JaxkinError: a lattice or positions that are no finite numbers.

    >>> salt = Structure(np.eye(3) * 4.0, [[0, 0, 0], [0.5, 0.5, 0.5]], ["Cs", "Cl"])
    >>> salt.names
    ('Cs', 'Cl')
    """

    def __init__(self, lattice: Any, positions: Any, species: Sequence[Any]):
        self.lattice = numbers("lattice", lattice, "three vectors in Å")
        self.positions = numbers("positions", positions, "reduced coordinates of the atoms")
        self.species = tuple(map(str, species))
        if self.lattice.shape != (3, 3) or not abs(np.linalg.det(self.lattice)) > 1e-9:
            raise ModelError("the lattice of a structure needs three independent vectors of 3 components in Å.")
        if self.positions.shape != (len(self.species), 3):
            raise ModelError(f"positions have shape {self.positions.shape}; {len(self.species)} atoms need 3 each.")

    @classmethod
    def of(cls, atoms: Any) -> Structure:
        """Of an ASE ``Atoms`` object, or of (lattice, positions, species), as spglib takes cells.

        Raises:
            ModelError: neither.
        """
        if hasattr(atoms, "get_scaled_positions"):
            return cls(np.asarray(atoms.cell), atoms.get_scaled_positions(wrap=False), atoms.get_chemical_symbols())
        if isinstance(atoms, tuple | list) and len(atoms) == 3:
            return cls(*atoms)
        raise ModelError(f"atoms={type(atoms).__name__} must be ASE Atoms, or (lattice, positions, species).")

    @classmethod
    def from_win(cls, path: str | Path) -> Structure | None:
        """Of a Wannier90 ``.win`` with its blocks of the cell and the atoms; None where it lists no atoms.

        Raises:
            FileFormatError: no such file, or a malformed block.
        """
        found = atoms_from_win(Path(path))
        return None if found is None else cls(*found)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the atoms, numbered where a species has more than one: Te1, Te2, Te3."""
        return tuple(
            name if self.species.count(name) == 1 else f"{name}{self.species[: n + 1].count(name)}"
            for n, name in enumerate(self.species)
        )

    @property
    def cell(self) -> tuple[np.ndarray, np.ndarray, list[int]]:
        """(lattice in Å, reduced positions, kinds) as spglib and seekpath take it."""
        kinds = sorted(set(self.species))
        return self.lattice, self.positions, [kinds.index(name) + 1 for name in self.species]

    def rotations(self) -> list[np.ndarray]:
        """Orthogonal parts of the space group from spglib: Cartesian matrices (3, 3), no unit.

        Raises:
            JaxkinError: spglib is not installed, or finds no space group.
        """
        unique = np.unique(np.asarray(self._dataset().rotations), axis=0)
        inverse = np.linalg.inv(self.lattice)
        return [self.lattice.T @ one @ inverse.T for one in unique]

    def space_group(self) -> str:
        """Its international symbol and number, from spglib.

        Raises:
            JaxkinError: spglib is not installed, or finds no space group.
        """
        dataset = self._dataset()
        return f"{dataset.international} ({dataset.number})"

    def _dataset(self) -> Any:
        spglib = optional("spglib", "structure")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of how it will report errors
            dataset = spglib.get_symmetry_dataset(self.cell, symprec=SYMMETRIC)
        if dataset is None:
            raise JaxkinError("spglib finds no space group of the structure: are two atoms in one place?")
        return dataset

    def sites(self, model: TightBinding) -> Sites:
        """The atom nearest to each orbital's centre, in this cell or another.

        Raises:
            ModelError: a model with less than three periodic directions.

        >>> import jaxkin as jk
        >>> model = jk.TightBinding(np.eye(3), [[0, 0, 0]], [np.eye(2)], [[0.95, 0, 0], [0.5, 0.4, 0.5]])
        >>> Structure(np.eye(3), [[0, 0, 0], [0.5, 0.5, 0.5]], ["Cs", "Cl"]).sites(model).atom.tolist()
        [0, 1]
        """
        if model.dimension != 3:
            raise ModelError(f"sites of a structure are known in three dimensions; the model has {model.dimension}.")
        apart = np.asarray(model.positions)[:, None, :] - self.positions
        apart -= np.rint(apart)
        images = np.array(list(product((-1, 0, 1), repeat=3)))
        lengths = np.linalg.norm((apart[:, :, None, :] + images) @ self.lattice, axis=-1).min(axis=-1)
        return Sites(np.argmin(lengths, axis=1), lengths.min(axis=1))

    def orbitals(self, model: TightBinding, name: str) -> list[int] | list[list[int]]:
        """Indices of the orbitals of an atom, "Te1"; of a species with several atoms, "Te", a list for each of them.

        As impurities and observables take them: ``PointImpurity(1.0, atoms.orbitals(model, "Te1"), density)`` sits on
        one atom, with "Te" on all of that species. An orbital belongs to the atom nearest to its centre.

        Args:
            model: in three dimensions.
            name: of an atom or a species.

        Raises:
            ModelError: no such atom, or one without orbitals.

        >>> import jaxkin as jk
        >>> model = jk.TightBinding(np.eye(3), [[0, 0, 0]], [np.eye(2)], [[0.95, 0, 0], [0.5, 0.4, 0.5]])
        >>> salt = Structure(np.eye(3), [[0, 0, 0], [0.5, 0.5, 0.5]], ["Cs", "Cl"])
        >>> salt.orbitals(model, "Cl")
        [1]
        """
        if name not in (*self.names, *self.species):
            known = dict.fromkeys((*self.names, *self.species))
            raise ModelError(
                f"atom {name!r} is not in this structure{nearest(name, known)}; it has {', '.join(known)}."
            )
        owner = self.sites(model).atom
        atoms = [n for n, (one, kind) in enumerate(zip(self.names, self.species, strict=True)) if name in (one, kind)]
        found = [np.flatnonzero(owner == atom).tolist() for atom in atoms]
        if not all(found):
            raise ModelError(f"atom {name!r} has no orbitals in this model.")
        return found[0] if len(found) == 1 else found


def optional(package: str, extra: str) -> Any:
    """A package that only some uses need.

    Raises:
        JaxkinError: it is not installed; says with which extra of jaxkin it comes.

    >>> optional("no_such_package", "structure")
    Traceback (most recent call last):
    jaxkin.errors.JaxkinError: no_such_package is not installed: pip install "jaxkin[structure]".
    """
    try:
        return import_module(package)
    except ImportError:
        raise JaxkinError(f'{package} is not installed: pip install "jaxkin[{extra}]".') from None


def spin_order(model: TightBinding) -> str | None:
    """How orbitals of two spins follow each other, as far as centres and spin matrices tell: None for neither.

    ``"in turn"`` for ↑↓↑↓, as Wannier90 with Quantum ESPRESSO writes; ``"halves"`` for all ↑, then all ↓.
    """
    n = model.size
    if n % 2:
        return None
    centres = np.asarray(model.positions)
    spin = model.spin
    if spin is not None and spin.ndim == 4:
        spin = jnp.moveaxis(spin[jnp.argmin(jnp.abs(model.translations).sum(axis=1))], -1, 0)  # within the home cell
    sigma = None if spin is None else np.real(np.diagonal(np.asarray(spin[2])))
    for order, up in (("in turn", np.arange(0, n, 2)), ("halves", np.arange(n // 2))):
        down = up + (1 if order == "in turn" else n // 2)
        together = np.allclose(centres[up], centres[down], atol=1e-2)
        if together and (sigma is None or (np.all(sigma[up] > 0.5) and np.all(sigma[down] < -0.5))):
            return order
    return None
