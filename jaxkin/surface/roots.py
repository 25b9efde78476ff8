"""Roots of ε_n(k) = level on straight segments, many at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

TOLERANCE = 1e-11
"""Of the bracket's first length."""
POLISH_STEPS = 8
POLISHED = 1e-9
"""Of a cell: the sum over the surface is then as exact as its geometry, which is taken at the root."""
FARTHEST = 0.3
"""Polished roots may move by this part of a cell; what moves farther was not understood."""
MOST_STEPS = 60
GOLDEN = 0.381966
"""Golden section."""
SECTIONS = 16
"""Golden sections of a cell until a dip in it that has not shown itself is given up: 4e-4 of the cell."""


def bracketed_roots(function: Callable, low: np.ndarray, high: np.ndarray, f_low: np.ndarray, f_high: np.ndarray):
    """Roots t of function(t, index) = 0 in [low, high], one per bracket, by Chandrupatla's method.

    Superlinear like inverse quadratic interpolation, never slower than bisection by more than a
    factor; needs function values only. ``function`` gets the still open brackets' t and indices.
    """
    b, a, fb, fa = high.copy(), low.copy(), f_high.copy(), f_low.copy()  # a: latest, [a, b] brackets
    c, fc = b.copy(), fb.copy()
    t = np.clip(fa / (fa - fb), 0.05, 0.95)  # the secant, kept off the ends
    tolerance = TOLERANCE * np.abs(high - low)
    root = np.where(np.abs(fa) < np.abs(fb), a, b)
    live = np.arange(len(low))
    for _ in range(MOST_STEPS):
        if not len(live):
            break
        x = a[live] + t[live] * (b[live] - a[live])
        f = function(x, live)
        same = np.sign(f) == np.sign(fa[live])
        i, j = live[same], live[~same]
        c[i], fc[i] = a[i], fa[i]
        c[j], fc[j], b[j], fb[j] = b[j], fb[j], a[j], fa[j]
        a[live], fa[live] = x, f
        root[live] = np.where(np.abs(f) < np.abs(fb[live]), x, b[live])
        width = np.abs(b[live] - a[live])
        remaining = width * np.minimum(1.0, np.abs(f) / np.maximum(np.abs(fb[live] - f), 1e-300))
        edge = tolerance[live] / np.maximum(width, 1e-300)
        t[live] = _next_step(a[live], b[live], c[live], fa[live], fb[live], fc[live], edge)
        live = live[(remaining > tolerance[live]) & (width > 2 * tolerance[live])]
    return root


def polished_roots(
    function: Callable, t: np.ndarray, slope: np.ndarray, bend: np.ndarray, cell: float
) -> tuple[np.ndarray, np.ndarray]:
    """Roots of function(t, index) near estimates t with estimated slopes, by secants: (t, whether it is one).

    ``bend``, half the second derivative, turns a secant's slope into that at its end. A step is the last
    one when the next, which shrinks like the product of the two before, would be below ``POLISHED`` cells.
    """
    root, slope, last = t.copy(), slope.copy(), np.full(len(t), cell)
    good, live = np.zeros(len(t), bool), np.arange(len(t))
    before = np.zeros(len(t))
    for count in range(POLISH_STEPS):
        if not len(live):
            break
        f = function(root[live], live)
        if count:
            with np.errstate(all="ignore"):
                slope[live] = (f - before[live]) / last[live] + bend[live] * last[live]
        before[live] = f
        with np.errstate(all="ignore"):
            step = np.where(f == 0, 0.0, -f / slope[live])
        near = np.isfinite(step) & (np.abs(root[live] + step - t[live]) < FARTHEST * cell)
        done = near & (np.abs(step) * np.minimum(1.0, np.abs(step / last[live])) < POLISHED * cell)
        if count == 0:
            done &= f == 0  # the first slope is an estimate
        root[live[near]] += step[near]
        good[live[done]] = True
        last[live] = step
        live = live[near & ~done]
    return root, good


def _next_step(a, b, c, fa, fb, fc, edge):
    """Fraction of the way from a to b: inverse quadratic interpolation where it is safe, else the middle."""
    with np.errstate(all="ignore"):
        xi, phi = (a - b) / (c - b), (fa - fb) / (fc - fb)
        step = fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
        safe = (phi**2 < xi) & ((1 - phi) ** 2 < 1 - xi) & np.isfinite(step)
    return np.clip(np.where(safe, step, 0.5), np.minimum(edge, 0.5), np.maximum(1 - edge, 0.5))


def dips(function: Callable, labels: tuple[np.ndarray, ...], low, high, f_low, f_high) -> list[tuple[np.ndarray, ...]]:
    """Brackets (labels..., low, high, f_low, f_high) of pairs of roots inside segments whose ends have one sign.

    The bottom of |f| is sought by two parabolic steps, and where that fails, as at the kink of two bands, by golden
    sections; where f changes sign, both sides of it are brackets. A dip so shallow that this misses it is one
    where the line all but grazes the level.
    """
    if not len(low):
        return []
    index = np.arange(len(low))
    middle = 0.5 * (low + high)
    f_middle = function(middle, index)
    found = (f_middle < 0) != (f_low < 0)
    again = np.flatnonzero(~found)
    h = 0.5 * (high - low)[again]
    slope, curvature = (f_high - f_low)[again] / (2 * h), (f_high - 2 * f_middle + f_low)[again] / h**2
    with np.errstate(all="ignore"):
        step = np.where(curvature != 0, -slope / curvature, 0.0)
    better = np.abs(f_middle[again] + slope * step + 0.5 * curvature * step**2) < np.abs(f_middle[again])
    again, step, h = again[better], step[better], h[better]
    vertex = middle[again] + np.clip(step, -0.95 * h, 0.95 * h)
    f_vertex = function(vertex, again)
    middle[again], f_middle[again] = vertex, f_vertex
    found[again] = (f_vertex < 0) != (f_low[again] < 0)
    rest = np.flatnonzero(~found)
    middle[rest], f_middle[rest] = _bottom(
        function, rest, *(x[rest] for x in (low, middle, high, f_low, f_middle, f_high))
    )
    found[rest] = (f_middle[rest] < 0) != (f_low[rest] < 0)
    names = tuple(label[found] for label in labels)
    low, high, f_low, f_high = low[found], high[found], f_low[found], f_high[found]
    middle, f_middle = middle[found], f_middle[found]
    return [(*names, low, middle, f_low, f_middle), (*names, middle, high, f_middle, f_high)]


def _bottom(function: Callable, index, low, middle, high, f_low, f_middle, f_high) -> tuple[np.ndarray, np.ndarray]:
    """Where |f| is lowest, or f has changed sign, by golden sections; and f there.

    |f| is taken as convex, so that it lies above the chords of what is known, continued: where these do not reach
    zero the search ends.
    """
    x, sign = np.stack([low, middle, high]), np.where(f_low < 0, -1.0, 1.0)
    g = sign * np.stack([f_low, f_middle, f_high])
    live = np.arange(len(low))
    for _ in range(SECTIONS):
        (a, m, b), (ga, gm, gb) = x[:, live], g[:, live]
        reach = np.minimum(gm + (gm - ga) / (m - a) * (b - m), gm + (gm - gb) / (b - m) * (m - a))
        live = live[(gm > 0) & (reach < 0)]
        if not len(live):
            break
        (a, m, b), (ga, gm, gb) = x[:, live], g[:, live]
        # The bottom is on the side of a lower end, or on either side: then the longer one is cut.
        right = np.where(gm <= np.minimum(ga, gb), b - m > m - a, gb < ga)
        new = m + GOLDEN * np.where(right, b - m, a - m)
        g_new = sign[live] * function(new, index[live])
        inner, outer = np.where(g_new < gm, new, m), np.where(g_new < gm, m, new)
        g_inner, g_outer = np.minimum(g_new, gm), np.maximum(g_new, gm)
        beyond = outer > inner
        x[:, live] = np.where(beyond, a, outer), inner, np.where(beyond, outer, b)
        g[:, live] = np.where(beyond, ga, g_outer), g_inner, np.where(beyond, g_outer, gb)
    return x[1], sign * g[1]
