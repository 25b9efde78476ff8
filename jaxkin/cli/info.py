"""``jaxkin info``: what a model is, what its symmetry allows and why, its bands, and its pockets at a Fermi level."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from jaxkin import units
from jaxkin.bands import BandPath, band_path
from jaxkin.cli import config as cfg
from jaxkin.cli.ingredients import build_model, memory, structure_beside
from jaxkin.cli.section import numbers
from jaxkin.cli.terms import terms
from jaxkin.errors import ConfigError, JaxkinError
from jaxkin.estimate import Estimate
from jaxkin.hamiltonian import BlochModel, Structure, TightBinding
from jaxkin.hamiltonian.structure import Sites, spin_order
from jaxkin.surface import BandEdges, Extent, Lines, band_edges, fermi_surface, pocket_extents
from jaxkin.surface.plan import Progress
from jaxkin.symmetry import (
    Forbidden,
    Operation,
    allowed,
    find_symmetries,
    forbidden,
    group_name,
    is_gyrotropic,
    verify_point_group,
    violations,
)
from jaxkin.symmetry.selection import Response

RESPONSES: tuple[Response, ...] = ("g", "hall")
SAME_CELL = 1e-2
"""Å between the cell of a .win and that of the model."""
LINES = {1: 2, 2: 96, 3: 16}
"""Across each direction of a pocket."""
REPLICAS = 4


@dataclass(frozen=True)
class Level:
    """The surface at one Fermi level in eV: its pockets, electrons and holes in Å^-d."""

    fermi_level: float
    pockets: list[Extent]
    electrons: Estimate
    holes: Estimate


@dataclass(frozen=True)
class Info:
    """What is known of a model."""

    name: str
    model: BlochModel
    stated: str | None
    structure: Structure | None
    operations: list[Operation]
    edges: BandEdges
    terms: list[tuple[str, str]] = field(default_factory=list)
    levels: list[Level] = field(default_factory=list)

    @cached_property
    def found(self) -> list[tuple[Operation, float]]:
        """Operations of H(k), each with its violation in eV."""
        pairs = zip(self.operations, violations(self.model, self.operations), strict=True)
        return [(op, off.energy) for op, off in pairs]

    @cached_property
    def reversal(self) -> float | None:
        """By how much H(k) violates time reversal in eV, where it does."""
        if any(op.name == "time reversal" for op in self.operations):
            return None
        return violations(self.model, [Operation(np.eye(3), antiunitary=True)])[0].energy

    @cached_property
    def lost(self) -> list[tuple[Operation, float]]:
        """Operations of the structure that H(k) does not have, with what they violate; spglib says which those are."""
        if self.structure is None:
            return []
        own = [Operation(rotation) for rotation in self.structure.rotations()]
        missing = [op for op in own if not any(np.allclose(op.rotation, o.rotation, atol=1e-3) for o in self._unitary)]
        pairs = zip(missing, violations(self.model, missing), strict=True)
        return [(op, off.energy) for op, off in pairs]

    @property
    def _unitary(self) -> list[Operation]:
        return [op for op in self.operations if not op.antiunitary]

    @property
    def group(self) -> str:
        return group_name(self.operations)

    @property
    def gyrotropic(self) -> bool:
        return is_gyrotropic(self.operations)

    @property
    def sites(self) -> Sites | None:
        """Atoms of the orbitals, where atoms are known."""
        if self.structure is None or not isinstance(self.model, TightBinding):
            return None
        return self.structure.sites(self.model)

    @property
    def spin_order(self) -> str | None:
        return spin_order(self.model) if isinstance(self.model, TightBinding) and self.structure else None

    def space_group(self) -> str:
        """Of the structure, or which package would say it."""
        assert self.structure is not None
        try:
            return self.structure.space_group()
        except JaxkinError as error:
            return f"unknown: {str(error).removesuffix('.')}"

    def lost_operations(self) -> list[tuple[Operation, float]]:
        """Those of :attr:`lost`, none without spglib."""
        try:
            return self.lost
        except JaxkinError:
            return []

    def rules(self, response: Response) -> list[Forbidden]:
        """Why components of a response vanish."""
        return forbidden(self.operations, response)

    def path(self) -> BandPath:
        """The standard path of the crystal."""
        return band_path(self.model, structure=self.structure)


def describe(config: cfg.Config, progress: Progress | None = None) -> Info:
    """All that is known of the model that a configuration names.

    Raises:
        ConfigError, FileFormatError: as for a run.
        SymmetryError: an operation of the stated point group that H(k) does not have.
    """
    with memory(config.resources):
        model, surface = build_model(config.model), config.surface
        levels = numbers("fermi_level", surface.fermi_level) if surface.fermi_level is not None else np.zeros(0)
        stated = config.model.point_group or model.point_group
        if stated:
            verify_point_group(model, stated)
        return Info(
            config.model.file or config.model.name,
            model,
            stated,
            _structure(config.model, model),
            find_symmetries(model),
            band_edges(model, progress=progress),
            terms(config.model, model),
            [_level(model, float(level), surface.seed, progress) for level in levels],
        )


def _structure(config: cfg.ModelConfig, model: BlochModel) -> Structure | None:
    """Atoms next to a file, of which the cell is the model's."""
    found = structure_beside(config)
    if found is None or not isinstance(model, TightBinding) or model.dimension != 3:
        return None
    if not np.allclose(found.lattice, model.lattice, atol=SAME_CELL):
        raise ConfigError(f"{config.file}: the .win next to it has another cell: put the right one there, or none.")
    return found


def _level(model: BlochModel, level: float, seed: int, progress: Progress | None) -> Level:
    surface = fermi_surface(
        model, level, sampler=Lines(LINES[model.dimension]), replicas=REPLICAS, seed=seed, progress=progress
    )
    carriers = surface.carrier_density()
    return Level(level, pocket_extents(surface), carriers["electrons"], carriers["holes"])


def draw(info: Info, folder: Path) -> Path:
    """``bands.png`` in a folder.

    Raises:
        JaxkinError: it cannot be written.
    """
    from jaxkin.output import bands as picture

    path = info.path()
    levels = np.array([level.fermi_level for level in info.levels])
    return picture.draw(path, np.asarray(info.model.bands(path.k)), levels, folder)


def document(info: Info) -> dict[str, Any]:
    """As JSON takes it: energies in eV, violations in meV, densities in cm^-d, k in model coordinates."""
    edges, structure, sites = info.edges, info.structure, info.sites
    per_cm = units.per_cm(info.model.dimension)
    found: dict[str, Any] = {
        "model": info.name,
        "bands": info.model.size,
        "dimension": info.model.dimension,
        "point_group": info.group,
        "stated_point_group": info.stated,
        "time_reversal": info.reversal is None,
        "operators": dict(info.terms),
        "operations": [{"name": op.name, "violation": 1e3 * off} for op, off in info.found],
        "gyrotropic": info.gyrotropic,
        "band_edges": {
            "lowest": edges.lowest.tolist(),
            "highest": edges.highest.tolist(),
            "k_lowest": edges.k_lowest.tolist(),
            "k_highest": edges.k_highest.tolist(),
        },
    }
    for response in RESPONSES:
        found[f"{response}_allowed"] = list(allowed(info.operations, response))
        found[f"{response}_forbidden"] = [
            {"components": list(rule.components), "by": [op.name for op in rule.by]} for rule in info.rules(response)
        ]
    if isinstance(info.model, TightBinding):
        found["lattice"] = np.asarray(info.model.lattice).tolist()
    if structure is not None and sites is not None:
        found["space_group"] = info.space_group()
        found["atoms"] = [
            {"name": name, "position": where.tolist(), "orbitals": np.flatnonzero(sites.atom == n).tolist()}
            for n, (name, where) in enumerate(zip(structure.names, structure.positions, strict=True))
        ]
    found["density_unit"] = f"cm^-{info.model.dimension}"
    found["levels"] = [
        {
            "fermi_level": level.fermi_level,
            "electrons": per_cm * float(level.electrons.mean),
            "holes": per_cm * float(level.holes.mean),
            "pockets": [
                {
                    "band": one.band,
                    "closed": one.closed,
                    "middle": one.middle.tolist(),
                    "size": one.size.tolist(),
                    "density": None if one.density is None else per_cm * float(one.density.mean),
                }
                for one in level.pockets
            ],
        }
        for level in info.levels
    ]
    return found
