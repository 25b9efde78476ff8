"""Points of a surface that symmetry makes of one another: the states of one of them are those of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from typing import NamedTuple

import numpy as np

from jaxkin.errors import SymmetryError
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.tight_binding import TightBinding
from jaxkin.surface.maps import EXACT, FAITHFUL, ZoneMap
from jaxkin.surface.points import STATES, point_geometry
from jaxkin.symmetry.operations import Operation
from jaxkin.symmetry.representation import Crystal, SpaceOperation

TESTED = 2
"""Random k at which all states and their derivatives are compared."""
ROWS = 2**14
"""States that are turned at once."""


class Known(NamedTuple):
    """|u⟩ (O, n) and |D_a u⟩ (O, 3, n) in Å."""

    state: np.ndarray
    derivative: np.ndarray

    def at(self, points: np.ndarray | slice) -> Known:
        """Those of some points."""
        return Known(self.state[points], self.derivative[points])

    @classmethod
    def joined(cls, parts: Sequence[Known]) -> Known:
        """Those of one part after the other."""
        return cls(*map(np.concatenate, zip(*parts, strict=True)))


Solved = Callable[[np.ndarray], Known]
"""Of numbers of points."""


class Turn(NamedTuple):
    """What a symmetry operation makes of states: u' = e^{−ik'·τ} V(k') e^{ik·τ} u, of u* with time reversal.

    V(k')_βα = e^{ik'·o_β} U_βα e^{−ik'·s_α}, as orbital α in cell R goes to orbitals β in R ``turn`` + s_α − o_β.
    D u, whose vector turns as k does, goes with it.
    """

    map: ZoneMap
    orbitals: SpaceOperation
    positions: np.ndarray
    source: np.ndarray
    target: np.ndarray

    def __call__(self, k: np.ndarray, image: np.ndarray, known: Known) -> Known:
        """The states at ``image``, equivalent to the image of k, both (N, d)."""
        k, there = k @ self.positions.T, k @ self.map.matrix.T
        before = np.exp(2j * np.pi * (k - self._reversal * (there @ self.source.T)))
        after = np.exp(2j * np.pi * (there @ self.target.T - image @ self.positions.T))
        matrix = self.orbitals.matrix.T

        def turned(x: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
            x = before * x
            return after * ((x.conj() if self.orbitals.reverses else x) @ matrix)

        derivative = turned(known.derivative, before[:, None], after[:, None])
        return Known(turned(known.state, before, after), np.einsum("ab,nbi->nai", self.map.polar, derivative))

    @property
    def _reversal(self) -> int:
        return -1 if self.orbitals.reverses else 1


def state_turn(model: BlochModel, one: ZoneMap) -> Turn | None:
    """How states and their derivatives follow a map of the zone; None where that is not known."""
    if not isinstance(model, TightBinding):
        return None
    crystal = Crystal(model)
    for operation in (Operation(one.polar), Operation(-one.polar, antiunitary=True)):
        with suppress(SymmetryError):
            image = crystal.image(operation, EXACT)
            source = crystal.offset @ image.turn + image.shift[crystal.site]
            turn = Turn(one, image, np.asarray(model.positions), source, crystal.offset)
            if _holds(model, turn):
                return turn
    return None


def _holds(model: BlochModel, turn: Turn) -> bool:
    """Whether all states at random k follow, up to their phases."""
    n = model.size
    k = np.repeat(np.random.default_rng(13).random((TESTED, model.dimension)), n, axis=0)
    there = k @ turn.map.matrix.T % 1.0

    def at(k: np.ndarray) -> Known:
        return Known(*point_geometry(model, k, np.tile(np.arange(n), TESTED), STATES).values())

    expected, found = at(there), turn(k, there, at(k))
    phase = np.sum(expected.state.conj() * found.state, axis=1)
    off = np.abs(found.derivative - phase[:, None, None] * expected.derivative).max()
    return bool(np.abs(np.abs(phase) - 1).max() < FAITHFUL and off < FAITHFUL * np.abs(expected.derivative).max())


class Orbits:
    """Which points of a surface are images of which, and the states of those that are none.

    Args:
        model: whose states they are.
        number: (N,) of the point of which each is an image.
        turn: (N,) by which of the ``maps`` it is; 0 by none.
        maps: of the zone, the identity first.
        known: states of the points that are no images, by number, in parts; None where they are not kept.
    """

    def __init__(
        self,
        model: BlochModel,
        number: np.ndarray,
        turn: np.ndarray,
        maps: Sequence[ZoneMap],
        known: Sequence[Known] | None,
    ):
        self.model, self.number, self.turn, self.maps = model, number, turn, maps
        self._known, self._turns = known, {}

    @cached_property
    def home(self) -> np.ndarray:
        """(N,) index of the point of which each is an image; −1 where it is not here."""
        own = np.flatnonzero(self.turn == 0)
        place = np.full(int(self.number.max(initial=-1)) + 1, -1)
        place[self.number[own]] = own
        return place[self.number]

    def followed(self, points: np.ndarray) -> np.ndarray:
        """Which of the ``points`` (M,) have a state that is another's, or known."""
        numbers = np.unique(self.turn[points])
        good = [number for number in numbers if (self._turn(number) if number else self._known) is not None]
        return np.isin(self.turn[points], good) & (self.home[points] >= 0)

    def fill(self, found: Known, rows: np.ndarray, points: np.ndarray, k: np.ndarray, solved: Solved) -> None:
        """Put the states of ``points`` (M,) that are :meth:`followed` where ``rows`` (M,) say.

        Args:
            found: states, of which these are some.
            rows: indices into them.
            points: numbers.
            k: of all points of the surface, (N, d).
            solved: the states of points that are no images.
        """
        own, place = self._kept(self.number[points]) if self._known else self._solved(points, solved)
        for number in np.unique(self.turn[points]):
            every = np.flatnonzero(self.turn[points] == number)
            for start in range(0, len(every), ROWS):
                some = every[start : start + ROWS]
                mine, at = own.at(place[some]), points[some]
                if number:
                    mine = self._turn(number)(k[self.home[at]], k[at], mine)  # pyright: ignore[reportOptionalCall]
                for column, values in zip(found, mine, strict=True):
                    column[rows[some]] = values

    def _solved(self, points: np.ndarray, solved: Solved) -> tuple[Known, np.ndarray]:
        """States, and which of them each of ``points`` comes from."""
        home, place = np.unique(self.home[points], return_inverse=True)
        return solved(home), place

    def _kept(self, numbers: np.ndarray) -> tuple[Known, np.ndarray]:
        """Those with the ``numbers``, mostly of one part: states, and which of them each is."""
        assert self._known is not None
        ends = np.cumsum([0, *(len(part.state) for part in self._known)])
        of = np.searchsorted(ends, numbers, side="right") - 1
        parts = np.unique(of)
        if len(parts) == 1:
            return self._known[parts[0]], numbers - ends[parts[0]]
        found = [self._known[part].at(numbers[of == part] - ends[part]) for part in parts]
        empty = self._known[0].at(slice(0))
        return Known.joined([empty, *found]), np.argsort(np.argsort(of, kind="stable"))

    def _turn(self, number: int) -> Turn | None:
        if number not in self._turns:
            self._turns[number] = state_turn(self.model, self.maps[number])
        return self._turns[number]
