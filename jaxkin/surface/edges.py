"""Lowest and highest energies of every band: a grid, and the best points of it refined.

A stencil of 3^d points about a candidate is fitted by a parabola; its vertex, or the best point of the stencil, is the
next candidate, and the stencil shrinks by four when the candidate no longer moves far. A smooth extremum ends after a
few of these steps, at the rate of Newton's method. Where bands cross they have corners and ridges, on which a stencil
can get stuck: what is not smooth is finished by simplices (Nelder and Mead), begun again until they gain nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from scipy import ndimage
from scipy.optimize import minimize

from jaxkin.checks import check_kind
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.spectrum import Spectrum
from jaxkin.surface.nodes import zone_box

GRID = {1: 200, 2: 48, 3: 20}
"""Points of the grid along each edge of the zone; even, so that it has all k that time reversal maps on themselves."""
CANDIDATES = 3
"""Of a band's extremum that are refined: more of the grid's local extrema than one may grow to be the best."""
ACCURACY = 1e-7
"""eV that a round of refinement must still gain for another to follow."""
ALIKE = 0.01
"""By which second differences on two stencils may differ of a smooth band."""
SMALLEST = 1e-5
"""Of the zone's edge: stencils end here, and what is still not smooth is left to simplices."""
SIMPLEX = 3e-3
"""Of the zone's edge: their first size."""

Progress = Callable[[int, int, str], None]


class BandEdges(NamedTuple):
    """The range of every band, by :func:`band_edges`: docs/questions.md, "The level is in a gap. Is that an error?".

    Attributes:
        lowest, highest: (n,) in eV.
        k_lowest, k_highest: (n, d) where, in model coordinates.
        evaluations: how many H(k) were diagonalised.
    """

    lowest: np.ndarray
    highest: np.ndarray
    k_lowest: np.ndarray
    k_highest: np.ndarray
    evaluations: int

    @property
    def gaps(self) -> np.ndarray:
        """(n − 1,) from the top of each band to the bottom of the next in eV, negative where they overlap."""
        return self.lowest[1:] - self.highest[:-1]


def band_edges(model: BlochModel, *, progress: Progress | None = None) -> BandEdges:
    """Lowest and highest energy of every band, exact to 1e-6 eV wherever a grid of 20 points an edge has them at all.

    Each is the best of three local extrema on the grid (200 points in one dimension, 48 an edge in two, 20 in three),
    refined: by parabolas, and where bands have corners by simplices (J. Nelder, R. Mead, Comput. J. 7, 308 (1965)).
    An extremum much narrower than the grid, beside a higher one that is broad, can be missed. In a k·p model they are
    those within its box.

    Args:
        model: any Bloch model.
        progress: called with (done, total, what).

    Raises:
        JaxkinError: no model.

    >>> import jaxkin as jk
    >>> edges = jk.band_edges(jk.models.get("haldane", mass=0.2))
    >>> [round(float(x), 6) for x in edges.gaps]  # 2(3√3 t₂ − M), Haldane 1988
    [1.158846]
    """
    check_kind("model", model, BlochModel, "a Bloch model, such as jaxkin.models.get('tellurium')")
    spectrum, (low, size) = Spectrum(model), zone_box(model.zone)
    d, count = model.dimension, GRID[model.dimension]
    cells = count if model.periodic else count - 1
    index = np.stack(np.meshgrid(*[np.arange(count)] * d, indexing="ij"), axis=-1).reshape(-1, d)
    energies = spectrum(low + size * index / cells)
    grid = energies.reshape(*(count,) * d, model.size)
    tasks = [
        (sign, band, place)
        for sign in (-1, 1)
        for band in range(model.size)
        for place in _extrema(sign * grid[..., band], model.periodic)
    ]
    signs, bands = np.array([sign for sign, _, _ in tasks]), np.array([band for _, band, _ in tasks])
    start = low + size * np.array([place for _, _, place in tasks]) / cells
    signed = _Bands(spectrum, signs, bands, low, size)
    values, places, smooth = _refined(signed, start, 1.0 / cells, progress)
    value, k = np.zeros((2, model.size)), np.zeros((2, model.size, d))
    for row, sign in enumerate((-1, 1)):
        for band in range(model.size):
            mine = np.flatnonzero((signs == sign) & (bands == band))
            best = mine[np.argmax(values[mine])]
            value[row, band], k[row, band] = values[best], places[best]
            if not smooth[best]:
                value[row, band], k[row, band] = signed.by_simplices(int(best), float(values[best]), places[best])
    return BandEdges(-value[0], value[1], k[0], k[1], spectrum.evaluations)


def _extrema(values: np.ndarray, periodic: bool) -> list[tuple[int, ...]]:
    """The highest local maxima on the grid, best first, that could become the highest of all."""
    mode = "wrap" if periodic else "nearest"
    peak = values >= ndimage.maximum_filter(values, size=3, mode=mode)
    bent = sum(
        np.abs(ndimage.correlate1d(values, [1.0, -2.0, 1.0], axis=axis, mode=mode)) for axis in range(values.ndim)
    )
    reach = values + 0.5 * bent
    places = np.argwhere(peak & (reach >= values.max()))
    order = np.argsort(-values[tuple(places.T)], kind="stable")
    return [tuple(place) for place in places[order[:CANDIDATES]].tolist()]


class _Bands(NamedTuple):
    """Signed energies of one band for each task, to be made as large as possible."""

    spectrum: Spectrum
    signs: np.ndarray
    bands: np.ndarray
    low: np.ndarray
    size: np.ndarray

    def __call__(self, task: np.ndarray, k: np.ndarray) -> np.ndarray:
        """(T, P) of tasks (T,) at points (T, P, d)."""
        energies = self.spectrum(k.reshape(-1, k.shape[-1])).reshape(*k.shape[:2], -1)
        return self.signs[task, None] * np.take_along_axis(energies, self.bands[task, None, None], axis=2)[..., 0]

    def inside(self, k: np.ndarray) -> np.ndarray:
        """k moved into the box of a model without a lattice."""
        return k if self.spectrum.model.periodic else np.clip(k, self.low, self.low + self.size)

    def by_simplices(self, task: int, value: float, k: np.ndarray) -> tuple[float, np.ndarray]:
        """The maximum near k (d,), where a task has ``value``, without derivatives."""
        sign, band, model = int(self.signs[task]), int(self.bands[task]), self.spectrum.model

        def lost(k: np.ndarray) -> float:
            self.spectrum.evaluations += 1
            return -sign * float(_energies(model, self.inside(k))[band])

        turn = 1.0
        while True:
            first = np.concatenate([k[None], k + turn * SIMPLEX * np.diag(self.size)])
            options = {"initial_simplex": first, "xatol": 1e-4, "fatol": 0.1 * ACCURACY, "maxfev": 400}
            found = minimize(lost, k, method="Nelder-Mead", options=options)
            gain = -found.fun - value
            if gain > 0:
                value, k = -float(found.fun), self.inside(found.x)
            if gain < ACCURACY and turn < 0:
                return value, k
            turn = -turn  # the next simplex lies on the other side


@eqx.filter_jit
def _energies(model: BlochModel, k: np.ndarray) -> jax.Array:
    return model.bands(k)


def _refined(
    bands: _Bands, start: np.ndarray, step: float, progress: Progress | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values (T,), places (T, d) of the maxima near ``start`` (T, d), and which are smooth; the first stencils are
    ``step`` of the zone."""
    d = start.shape[1]
    stencil = np.array(sorted(product((-1, 0, 1), repeat=d), key=any), float)  # the middle first
    sides = np.array(
        [[np.flatnonzero((stencil == way * axis).all(axis=1))[0] for axis in np.eye(d)] for way in (-1, 1)]
    )
    fit, bend = np.linalg.pinv(_terms(stencil)), np.full(start.shape, np.nan)
    k, size, gain = start.copy(), np.full(len(start), step), np.full(len(start), np.inf)
    value, smooth = np.full(len(start), -np.inf), np.zeros(len(start), bool)
    going = np.arange(len(start))
    while len(going):
        points = bands.inside(k[going, None, :] + bands.size * size[going, None, None] * stencil)
        sampled = bands(going, points)
        vertex = bands.inside(k[going] + bands.size * size[going, None] * _vertex(sampled @ fit.T, d))
        sampled = np.concatenate([sampled, bands(going, vertex[:, None, :])], axis=1)
        points = np.concatenate([points, vertex[:, None, :]], axis=1)
        best = np.argmax(sampled, axis=1)
        moved = np.abs((points[np.arange(len(going)), best] - k[going]) / bands.size).max(axis=1)
        k[going], reached = points[np.arange(len(going)), best], sampled.max(axis=1)
        shrinks = moved < 0.6 * size[going]
        gain[going], value[going] = reached - value[going], reached
        # Second differences along the axes: a band that is smooth here has a sixteenth of those of the last stencil.
        new = sampled[:, sides].sum(axis=1) - 2 * sampled[:, :1]
        like = np.all((np.abs(16 * new - bend[going]) < ALIKE * np.abs(bend[going])) | (np.abs(new) < ACCURACY), axis=1)
        bend[going] = np.where(shrinks[:, None], new, np.nan)
        smooth[going] = shrinks & like & (gain[going] < ACCURACY)
        size[going] = np.where(shrinks, size[going] / 4, size[going])
        going = going[~smooth[going] & (size[going] >= SMALLEST)]
        if progress is not None:
            progress(len(start) - len(going), len(start), "band edges")
    return value, k, smooth


def _terms(x: np.ndarray) -> np.ndarray:
    """1, x_i and x_i x_j of points (P, d)."""
    i, j = np.triu_indices(x.shape[1])
    return np.concatenate([np.ones((len(x), 1)), x, x[:, i] * x[:, j]], axis=1)


def _vertex(coefficients: np.ndarray, d: int) -> np.ndarray:
    """Where parabolas (T, terms) are highest, (T, d) in steps, within one and a half of them."""
    i, j = np.triu_indices(d)
    hessian = np.zeros((len(coefficients), d, d))
    hessian[:, i, j] = coefficients[:, 1 + d :]
    hessian += hessian.swapaxes(1, 2)
    curvature, axes = np.linalg.eigh(hessian)
    slope = np.einsum("tia,ti->ta", axes, coefficients[:, 1 : 1 + d])
    scale = np.maximum(np.abs(curvature), 1e-3 * np.abs(curvature).max(axis=1, keepdims=True) + 1e-300)
    return np.einsum("tia,ta->ti", axes, np.clip(slope / scale, -1.5, 1.5))
