"""Readable tables of a study, with uncertainties."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
from rich.console import Group
from rich.table import Table
from rich.text import Text

from jaxkin import units
from jaxkin.estimate import Estimate, side_by_side
from jaxkin.output.dataset import XYZ, tensor_unit
from jaxkin.output.drive import Drive
from jaxkin.output.sheets import Sheets
from jaxkin.response import Conductivity, GyrotropicResponse
from jaxkin.response.scales import fermi_wave_vector


def summary(response: GyrotropicResponse, sigma: Conductivity, allowed: np.ndarray, drive: Drive, axis) -> Group:
    """What one Fermi level and temperature gave."""
    found = any(np.any(estimate.mean[:, allowed]) for estimate in response.g.values())
    return Group(
        _state(response, sigma),
        *_hall(sigma, response.left_out),
        *([_tensor(response, allowed), _observables(response, sigma, drive, axis)] if found else [_NONE]),
        *(Text(f"{name.replace('_', ' ')}: not known of this disorder", style="dim") for name in response.left_out),
        *(Text(f"warning: {message}", style="yellow") for message in response.warnings),
    )


_NONE = Text("gyrotropic tensor: zero in all components that the point group allows")


def _hall(sigma: Conductivity, left_out: Collection[str]) -> list[Sheets]:
    """The Hall conductivity by mechanism, where time reversal is broken and it is not zero."""
    if not sigma.time_reversal.startswith("broken"):
        return []
    index = int(np.argmin(np.abs(sigma.frequency)))
    hall = {name: part for name, part in sigma.hall.items() if name not in left_out}
    title = f"Hall conductivity, Re (σ_ab − σ_ba)/2 in {sigma.unit} at {sigma.frequency[index]:g} THz"
    rows = {}
    for a, b in ((0, 1), (1, 2), (2, 0)):
        parts = [one[index, a, b].real for one in hall.values()]
        if any(np.any(part.mean) for part in parts):
            rows[XYZ[a] + XYZ[b]] = side_by_side(parts)
    return [_sheets(title, "ab", list(hall), rows)] if rows else []


def _sheets(
    title: str, what: str, mechanisms: list[str], rows: dict[str, list[str]], caption: str | None = None
) -> Sheets:
    """A row for each component or quantity, a column for each mechanism."""
    columns = [
        (name.replace("_", " "), list(cells))
        for name, cells in zip(mechanisms, zip(*rows.values(), strict=True), strict=True)
    ]
    return Sheets(title, [(what, list(rows))], columns, caption)


def _state(response: GyrotropicResponse, sigma: Conductivity) -> Table:
    surface, d = response.surface, response.surface.model.dimension
    table = Table(show_header=False, box=None, pad_edge=False)
    rows = [
        ("Fermi level, temperature", f"{surface.fermi_level:g} eV, {surface.temperature:g} K"),
        ("surface", f"{len(surface)} points {_where(surface)}, {surface.evaluations} H(k) evaluations"),
        ("", surface.verdict),
        ("", f"no pocket that holds a ball of {surface.smallest_pocket:.2g} Å⁻¹ was missed"),
        ("", f"bands closer than {1e3 * surface.degeneracy:g} meV count as one set"),
        ("density of states", f"{surface.density_of_states()} /(eV Å^{d})"),
        *(
            (f"density of {name}", f"{density * units.per_cm(d)} cm^-{d}")
            for name, density in surface.carrier_density().items()
            if np.any(density.samples)
        ),
        ("transport time τ", f"{response.tau} ps"),
        *_disorder(response),
    ]
    static = int(np.argmin(np.abs(sigma.frequency)))
    diagonal = ", ".join(str(sigma.sigma["total"][static, a, a].real) for a in range(3))
    rows.append((f"σ_xx, σ_yy, σ_zz at {sigma.frequency[static]:g} THz", f"{diagonal} {sigma.unit}"))
    rows.append(("time reversal", sigma.time_reversal))
    crossover = response.crossover_frequency()
    if crossover > 0:
        rows.append(("skew → intrinsic crossover", f"{crossover:.3g} THz"))
    for label, value in rows:
        table.add_row(Text(label, style="dim"), value)
    return table


def _columns(response: GyrotropicResponse) -> list[str]:
    return [name for name in response.g if name not in response.left_out]


def _disorder(response: GyrotropicResponse) -> list[tuple[str, str]]:
    """τ_sk, a_sj, ℓ and k_Fℓ."""
    path, wave = response.mean_free_path(), fermi_wave_vector(response.surface)
    rows = [("mean free path ℓ", f"{path} Å"), ("k_Fℓ", str(path * wave))]
    if np.any(response.skew_acceleration):
        time = response.skew_time()
        rows += [
            ("skew time τ_sk", f"{time} ps"),
            ("τ/τ_sk", str(response.tau / time)),
        ]
    if np.any(response.side_jump_velocity):
        rows.append(("side jump a_sj", f"{response.side_jump_length()} Å"))
    return rows


def _where(surface) -> str:
    if surface.temperature:
        return f"at {len(surface.shells)} energies"
    return f"in {len(surface.pockets)} pocket{'s' * (len(surface.pockets) != 1)}"


def _tensor(response: GyrotropicResponse, allowed: np.ndarray) -> Sheets:
    """g at the lowest frequency: the components that symmetry allows."""
    index = int(np.argmin(np.abs(response.frequency)))
    f = response.frequency[index]
    part = "Re, Im" if f else "Im"
    rows = {}
    for a, b in np.argwhere(allowed):
        components = [response.g[name][index, a, b] for name in _columns(response)]
        imaginary = side_by_side([one.imag for one in components])
        cells = imaginary
        if f:
            pairs = zip(side_by_side([one.real for one in components]), imaginary, strict=True)
            cells = [", ".join(pair) for pair in pairs]
        rows[XYZ[a] + XYZ[b]] = cells
    hidden = None if allowed.all() else "components not shown are forbidden by the point group, verified on H(k)"
    unit = tensor_unit(response.surface.model.dimension)
    return _sheets(f"gyrotropic tensor, {part} g_ab in {unit} at {f:g} THz", "ab", _columns(response), rows, hidden)


def _observables(response: GyrotropicResponse, sigma: Conductivity, drive: Drive, axis) -> Sheets:
    columns, model = _columns(response), response.surface.model
    what = f"observables: M for {drive.label(model.dimension)}, rotation ρ along the optic axis"
    rows: dict[str, list[str]] = {}
    static = int(np.argmin(np.abs(response.frequency)))
    magnetization, symbol = drive.along(response, sigma), "j" if drive.current else "E"

    def add(label: str, values: Iterable[Estimate]) -> None:
        rows[label] = side_by_side(list(values))

    f0 = f" at {response.frequency[static]:g} THz"
    add(f"μ₀M∥{symbol} (G){f0}", (magnetization[name][static].real for name in columns))
    if model.spin is not None and "intrinsic" in columns:
        spin = drive.along(response.of_moment("spin"), sigma)["intrinsic"][static].real
        rows["  of spin"] = [str(spin) if name == "intrinsic" else "" for name in columns]
    without = "of orbital moments alone: the model has no spin operators" if model.spin is None else None
    add(f"Im Tr g ({tensor_unit(model.dimension)}){f0}", (response.trace()[name][static].imag for name in columns))
    rotation = response.rotatory_power(axis)
    for index in _few(response.frequency):
        f = f"{response.frequency[index]:.3g} THz"
        add(f"Re ρ (rad/m) at {f}", (rotation[name][index].real for name in columns))
        add(f"Im ρ (rad/m) at {f}", (rotation[name][index].imag for name in columns))
    return _sheets(what, "", columns, rows, without)


def _few(frequency: np.ndarray) -> list[int]:
    """At most three finite frequencies, spread over the list."""
    finite = np.flatnonzero(frequency > 0)
    if not finite.size:
        return []
    return sorted({int(finite[len(finite) // 4]), int(finite[len(finite) // 2]), int(finite[(3 * len(finite)) // 4])})
