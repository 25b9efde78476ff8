"""``[[disorder.impurities]]``: one table for each kind of impurity, with the keys that this kind has."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from jaxkin.cli.section import Section, Vector
from jaxkin.disorder import (
    Disorder,
    FiniteRangeImpurity,
    Gaussian,
    IonisedImpurities,
    PointImpurity,
    ScreenedCoulomb,
)
from jaxkin.errors import ConfigError
from jaxkin.hamiltonian import BlochModel


class ImpurityConfig(Section, frozen=True, tag_field="kind"):
    """What all kinds have: ``density`` per Å^d, and the ``order`` in the potential."""

    strength: float
    density: float
    order: Literal["born", "third", "tmatrix"] = "tmatrix"


class PointConfig(ImpurityConfig, frozen=True, kw_only=True, tag="point"):
    """``strength`` in eV on ``orbitals``: one list, or one for each equivalent site.

    With ``symmetrized`` the model's symmetry adds the equivalent sites; ``cells`` has one for each orbital.
    """

    orbitals: list[int | list[int]]
    symmetrized: bool = False
    cells: list[list[int]] | None = None

    def build(self, model: BlochModel) -> Disorder:
        """The impurity of the library."""
        if not self.orbitals:
            raise ConfigError("[[disorder.impurities]]: kind = 'point' needs orbitals, for example orbitals = [0, 1].")
        orbitals: Any = self.orbitals
        point = PointImpurity(self.strength, orbitals, self.density, order=self.order, cells=self.cells)
        return point.symmetrized(model) if self.symmetrized else point


class FiniteRangeConfig(ImpurityConfig, frozen=True):
    """What extends over more than an orbital, from ``positions`` in the cell; with Re G if ``off_shell``."""

    positions: list[Vector] = msgspec.field(default_factory=list)
    off_shell: bool = False

    def form_factor(self) -> Gaussian | ScreenedCoulomb:
        """V(q) for ``strength`` 1."""
        raise NotImplementedError

    def build(self, model: BlochModel) -> Disorder:
        """The impurity of the library."""
        places = self.positions or (0.0, 0.0, 0.0)
        return FiniteRangeImpurity(
            self.form_factor(),
            self.strength,
            self.density,
            order=self.order,
            positions=places,
            off_shell=self.off_shell,
        )


class GaussianConfig(FiniteRangeConfig, frozen=True, kw_only=True, tag="gaussian"):
    """``strength`` in eV Å^d, ``width`` in Å."""

    width: float

    def form_factor(self) -> Gaussian:
        return Gaussian(self.width)


class CoulombConfig(FiniteRangeConfig, frozen=True, kw_only=True, tag="coulomb"):
    """``strength`` is the charge; screened with ``length`` (Å, or Thomas-Fermi) in a host of ``dielectric``."""

    dielectric: float | Vector
    length: float | None = None
    core: float = 1.0

    def form_factor(self) -> ScreenedCoulomb:
        return ScreenedCoulomb(self.dielectric, self.length, self.core)


class IonisedConfig(Section, frozen=True, kw_only=True, tag_field="kind", tag="ionised"):
    """As :class:`jaxkin.IonisedImpurities`: ``charges`` in |e|, in ``shares`` or equal parts; neutral at each level."""

    charges: list[int]
    dielectric: float | Vector
    shares: list[float] | None = None
    compensation: float = 0.0
    length: float | None = None
    core: float = 1.0
    order: Literal["born", "third", "tmatrix"] = "tmatrix"
    positions: list[Vector] = msgspec.field(default_factory=list)
    off_shell: bool = False

    def build(self, model: BlochModel) -> Disorder:
        """The impurities of the library."""
        del model
        if self.shares is not None and len(self.shares) != len(self.charges):
            raise ConfigError(
                f"[[disorder.impurities]]: {len(self.shares)} shares of {len(self.charges)} charges; give one for each."
            )
        return IonisedImpurities(
            self.charges if self.shares is None else dict(zip(self.charges, self.shares, strict=True)),
            self.dielectric,
            self.compensation,
            length=self.length,
            core=self.core,
            order=self.order,
            positions=self.positions or (0.0, 0.0, 0.0),
            off_shell=self.off_shell,
        )


Impurity = PointConfig | GaussianConfig | CoulombConfig | IonisedConfig
KINDS: dict[str, type[Section]] = {
    "point": PointConfig,
    "gaussian": GaussianConfig,
    "coulomb": CoulombConfig,
    "ionised": IonisedConfig,
}
NEEDED = {
    "kind": "'point', 'gaussian', 'coulomb' or 'ionised'",
    "charges": "in |e|, for example charges = [-1, 2]",
    "strength": "in eV for a point, eV Å^d for a Gaussian, the charge in |e| for a Coulomb impurity",
    "density": "per Å^d, all equivalent sites together",
    "orbitals": "for example orbitals = [0, 1]",
    "width": "in Å",
    "dielectric": "the relative permittivity of the host",
}
"""What to say of a key that is missing."""
