"""A picture of bands along a path."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from jaxkin.bands import BandPath
from jaxkin.output.folder import replace_file
from jaxkin.output.pictures import png

matplotlib.use("Agg")
NEAR = 1.0
"""eV on either side of a Fermi level that its own panel shows, where the bands reach farther."""

LONG = 5
"""Letters of a label above which they are set aslant, so that neighbours do not overlap."""


def draw(path: BandPath, energies: np.ndarray, levels: np.ndarray, folder: Path) -> Path:
    """Write ``bands.png``: energies (N, n) in eV along a path, with Fermi levels (L,), magnified about them.

    Raises:
        JaxkinError: it cannot be written.
    """
    windows: list[tuple[float, float] | None] = [None]
    if levels.size and np.ptp(energies) > 4 * NEAR:
        windows.append((float(levels.min()) - NEAR, float(levels.max()) + NEAR))
    figure = Figure(figsize=(5.6 * len(windows), 4.6), layout="constrained")
    panels = figure.subplots(1, len(windows), squeeze=False)[0]
    for ax, window in zip(panels, windows, strict=True):
        for part in path.lines:
            ax.plot(path.distance[part], energies[part], color="#1b6ca8", lw=1.1)
        for tick in path.ticks:
            ax.axvline(tick, color="0.8", lw=0.8, zorder=0)
        for level in levels:
            ax.axhline(level, color="#c0392b", lw=0.9, ls="--")
        ax.set_xticks(path.ticks, path.labels, rotation=30 if max(map(len, path.labels)) > LONG else 0)
        ax.set_xlim(path.distance[0], path.distance[-1])
        ax.set_ylabel("energy (eV)")
        if window:
            ax.set_ylim(*window)
    return replace_file(folder / "bands.png", png(figure))
