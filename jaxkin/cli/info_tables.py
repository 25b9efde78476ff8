"""What ``jaxkin info`` prints."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from jaxkin import units
from jaxkin.cli.info import Info, Level
from jaxkin.hamiltonian import TightBinding
from jaxkin.output.uncertainty import with_uncertainty
from jaxkin.symmetry import Forbidden, allowed
from jaxkin.symmetry.selection import Response

RESPONSES: tuple[tuple[Response, str, str], ...] = (
    ("g", "g", "gyrotropic components allowed"),
    ("hall", "σ", "Hall components allowed"),
)
FAR = 1.0
"""Å from its atom at which a centre is a doubt."""
ALIKE = 0.02
"""Of pockets that are counted together."""


def page(info: Info) -> Group:
    """All tables."""
    parts: list[RenderableType] = [_summary(info)]
    if info.structure is not None:
        parts.append(_atoms(info))
    return Group(*parts, _operations(info), _bands(info), *(_pockets(info, level) for level in info.levels))


def _summary(info: Info) -> Table:
    model, table = info.model, Table(show_header=False, box=None, pad_edge=False)
    table.add_row("model", info.name)
    table.add_row("bands, dimensions", f"{model.size}, {model.dimension}")
    if isinstance(model, TightBinding):
        lengths = np.linalg.norm(np.asarray(model.lattice), axis=1)
        table.add_row("lattice vectors", ", ".join(f"{x:.4f}" for x in lengths) + " Å")
        table.add_row("translations R", str(len(model.translations)))
    else:
        table.add_row("box", ", ".join(f"({lo:g}, {hi:g})" for lo, hi in model.zone) + " Å⁻¹")
    for name, verdict in info.terms:
        table.add_row(name, verdict)
    if info.structure is not None:
        table.add_row("space group of the atoms", info.space_group())
    broken = "" if info.reversal is None else f"; time reversal violated by {1e3 * info.reversal:.3g} meV"
    table.add_row("point group found on H(k)", f"{info.group}{broken or ', time reversal'}")
    table.add_row("point group stated", info.stated or "none")
    table.add_row("gyrotropic", "yes" if info.gyrotropic else "no: g and χ vanish")
    for response, letter, what in RESPONSES:
        named = ", ".join(f"{letter}_{pair}" for pair in allowed(info.operations, response))
        table.add_row(what, (named or "none") + (", and those of χ" if response == "g" and named else ""))
        for rule in info.rules(response):
            table.add_row("", Text(f"no {_components(rule, letter)}: {_reason(rule)}", style="dim"))
    return table


def _components(rule: Forbidden, letter: str) -> str:
    return ", ".join(f"{letter}_{pair}" for pair in rule.components)


def _reason(rule: Forbidden) -> str:
    return " with ".join(op.name for op in rule.by) if len(rule.by) <= 2 else "the whole group"


def _atoms(info: Info) -> Table:
    """Where atoms are and which orbitals sit on them."""
    structure, sites = info.structure, info.sites
    assert structure is not None and sites is not None
    order = {"in turn": "; two spins in turn (0 up, 1 down, ...)", "halves": "; one spin, then the other", None: ""}
    table = Table(title=f"atoms and the orbitals nearest to them{order[info.spin_order]}", title_justify="left")
    for column in ("atom", "reduced position", "orbitals", "farthest centre (Å)"):
        table.add_column(column)
    for n, (name, where) in enumerate(zip(structure.names, structure.positions, strict=True)):
        mine = np.flatnonzero(sites.atom == n)
        far = sites.distance[mine].max() if mine.size else 0.0
        doubt = " far: between atoms, or atoms of another setting" if far > FAR else ""
        table.add_row(
            name, " ".join(f"{x:.4f}" for x in where), _ranges(mine), f"{far:.3f}{doubt}" if mine.size else ""
        )
    return table


def _ranges(numbers: np.ndarray) -> str:
    """0-3, 7 of sorted numbers."""
    if not numbers.size:
        return "none"
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _operations(info: Info) -> Table:
    """Operations by name, with the largest violation of each kind; of those with time reversal only what is new."""
    table = Table(title="operations of H(k), and how well bands keep them", title_justify="left")
    for column in ("operation", "number", "violation (meV)"):
        table.add_column(column, justify="right" if column != "operation" else "left")
    new = [(op, off) for op, off in info.found if op.name != "identity"]
    shown = [(op, off) for op, off in new if not op.antiunitary or info.reversal is not None]
    shown += [(op, off) for op, off in info.found if op.name == "time reversal" and info.reversal is None]
    for name in dict.fromkeys(op.name for op, _ in shown):
        each = [off for op, off in shown if op.name == name]
        table.add_row(name, str(len(each)), _millielectronvolts(max(each)))
    for op, off in info.lost_operations():
        table.add_row(f"{op.name}, of the atoms but not of H(k)", "", _millielectronvolts(off), style="yellow")
    return table


def _millielectronvolts(energy: float) -> str:
    """Of eV."""
    return f"{1e3 * energy:.3g}" if energy > 1e-10 else "0"


def _bands(info: Info) -> Table:
    edges = info.edges
    table = Table(title="bands, their edges to 1e-6 eV", title_justify="left")
    for column in ("band", "lowest", "highest", "highest at k", "gap above"):
        table.add_column(column, justify="right")
    for n in range(info.model.size):
        gap = edges.gaps[n] if n + 1 < info.model.size else np.nan
        where = " ".join(f"{x:.3f}" for x in np.round(edges.k_highest[n], 3) + 0.0)
        energies = f"{edges.lowest[n]:.6f}", f"{edges.highest[n]:.6f}"
        table.add_row(str(n), *energies, where, f"{gap:.6f}" if gap > 1e-6 else "")
    return table


def _pockets(info: Info, level: Level) -> Table:
    factor, unit = units.per_cm(info.model.dimension), f"cm^-{info.model.dimension}"
    carriers = ", ".join(
        f"{with_uncertainty(factor * float(one.mean), factor * float(one.stderr))} {unit} {name}"
        for name, one in (("electrons", level.electrons), ("holes", level.holes))
        if one.mean
    )
    title = f"pockets at {level.fermi_level:g} eV; {carriers or 'no carriers'}"
    table = Table(title=title, title_justify="left")
    for column in ("band", "number", "kind", "middle, reduced", "size x y z (Å⁻¹)", f"carriers in each ({unit})"):
        table.add_column(column)
    for group in _alike(level):
        one = level.pockets[group[0]]
        kind, holds = "open", ""
        if one.density is not None:
            mean = float(one.density.mean)
            kind = "closed, electrons" if mean > 0 else "closed, holes"
            holds = with_uncertainty(factor * abs(mean), factor * float(one.density.stderr))
        middle = " ".join(f"{x:.3f}" for x in np.round(one.middle, 3) + 0.0) if one.closed else ""
        size = " ".join(f"{x:.4f}" for x in one.size[: max(info.model.dimension, 1)])
        table.add_row(str(one.band), str(len(group)), kind, middle, size, holds)
    return table


def _alike(level: Level) -> Sequence[list[int]]:
    """Numbers of pockets of one band and kind that enclose as much, as symmetry makes them."""
    groups: list[list[int]] = []
    for n, pocket in enumerate(level.pockets):
        for group in groups:
            other = level.pockets[group[0]]
            if (pocket.band, pocket.closed) != (other.band, other.closed):
                continue
            if pocket.density is None or other.density is None:
                continue
            if abs(pocket.density.mean - other.density.mean) < ALIKE * abs(other.density.mean):
                group.append(n)
                break
        else:
            groups.append([n])
    return groups
