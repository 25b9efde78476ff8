"""The points of one random shift, pocket by pocket, with their images and, where there is room, their states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

import numpy as np

from jaxkin.hamiltonian.spectrum import Spectrum
from jaxkin.memory import batch_bytes
from jaxkin.surface.images import moved
from jaxkin.surface.maps import ZoneMap
from jaxkin.surface.orbits import Known
from jaxkin.surface.points import STATES, kept_vectors, point_geometry
from jaxkin.surface.samples import Sampler, Samples

COPIES = 2
"""Of states that exist at once: of a pocket and of the replica."""
_LIVING: WeakValueDictionary[int, np.ndarray] = WeakValueDictionary()
"""|u⟩ of all points that are kept anywhere."""


def room() -> int:
    """Bytes that states may still take: with all that are kept, and copies, as much as a batch."""
    return batch_bytes() // COPIES - 4 * sum(state.nbytes for state in _LIVING.values())


def joined(parts: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Columns of one part after the other; they are taken out of the parts, so that there is little of them twice."""
    return {name: np.concatenate([part.pop(name) for part in parts]) for name in [*parts[0]]}


@dataclass(frozen=True)
class Replica:
    """Points of one random shift, all energies together.

    ``columns`` hold geometry, ``level`` (eV), ``measure`` (the sampler's weight in Å^-d), ``pocket``, a
    number among those of all windows, and ``number`` and ``turn`` as :class:`Orbits` has them.
    """

    columns: dict[str, np.ndarray]
    known: Known | None
    """The states of the points that are no images; None where they are not kept."""


class Gathering:
    """A replica in the making.

    Args:
        spectrum: of the model; counts diagonalisations.
        maps: of the zone.
        degeneracy: eV, as in :func:`point_geometry`.
        room: bytes that states may take.
    """

    def __init__(self, spectrum: Spectrum, maps: Sequence[ZoneMap], degeneracy: float, room: int):
        self.spectrum, self.maps, self.degeneracy = spectrum, maps, degeneracy
        self._room, self._count = room, 0
        self._known: list[Known] | None = []
        self.parts: list[dict[str, np.ndarray]] = []

    def add(self, sampler: Sampler, samples: Samples, level: float) -> None:
        """One pocket's points with all their images; those of zero weight are dropped."""
        model = self.spectrum.model
        names = kept_vectors(model)
        self._room -= 16 * 4 * model.size * len(samples.k)
        if self._room < 0:
            self._known = None
        geometry = point_geometry(
            model,
            samples.k,
            samples.band,
            names if self._known is None else (*names, *STATES),
            energy=samples.energy,
            degeneracy=self.degeneracy,
            spectrum=self.spectrum,
        )
        slope = (geometry["velocity"] @ np.asarray(model.basis).T) * samples.edges
        volume = np.broadcast_to(samples.volume, len(samples.k))
        weight = volume * sampler.profile(samples, geometry["energy"] - level, slope)
        counts = weight != 0
        columns = {
            "k": samples.k,
            "band": samples.band,
            "axis": samples.axis,
            "volume": volume,
            "level": np.full(len(weight), level),
            "measure": float(model.measure) * weight,
            **{name: geometry[name] for name in names},
        }
        columns = {name: values[counts] for name, values in columns.items()}
        if self._known is not None:
            known = Known(*(geometry[name] for name in STATES))
            self._known.append(known if counts.all() else known.at(counts))
        columns["number"] = np.arange(self._count, self._count + len(columns["k"]), dtype=np.int32)
        columns["turn"] = np.zeros(len(columns["k"]), np.int8)
        self._count += len(columns["k"])
        images = [moved(columns, one, self.maps) for one in samples.images] or [columns]
        self.parts.append({name: np.concatenate([image[name] for image in images]) for name in columns})

    def add_image(self, source: int, one: ZoneMap) -> None:
        """The image of an earlier part."""
        self.parts.append(moved(self.parts[source], one, self.maps))

    def replica(self) -> Replica:
        """All parts, which are used up, as one, the first of pocket −1."""
        lengths = [len(part["k"]) for part in self.parts]
        columns = joined(self.parts)
        columns["pocket"] = np.repeat(np.arange(-1, len(lengths) - 1), lengths)
        known = None if self._known is None else Known.joined(self._known)
        if known is not None:
            _LIVING[id(known.state)] = known.state
        return Replica(columns, known)
