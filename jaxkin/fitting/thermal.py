"""The thermal average over tabulated energies, with exact derivatives in μ and T."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxkin import units
from jaxkin.errors import JaxkinError

ENOUGH = 9.0
"""|ε−μ|/kT that the energies must reach where there are states; e⁻⁹ = 1e-4 is left out."""


class Energies(eqx.Module):
    """The energies of a table's shells, and how −f⁰' at other μ and T reweighs them.

    Tables hold shells that already carry the weights −f⁰' of a reference (μ₀, T₀), so that at the reference they
    are the surface itself; elsewhere a shell counts f⁰'(ε; μ, T)/f⁰'(ε; μ₀, T₀) times as much.

    Attributes:
        energy: (replicas, energies) in eV.
        fermi_level: μ₀ in eV.
        temperature: T₀ in K; 0 for a single energy, where μ and T are not free.
        window: interval in eV beyond which no energy was tabulated.
        empty: whether there are no states at its lower and upper end.
        mixed: shells are energy bins of a smeared surface, which cannot be reweighed.
    """

    energy: Float[Array, "R E"]
    fermi_level: float = eqx.field(static=True)
    temperature: float = eqx.field(static=True)
    window: tuple[float, float] = eqx.field(static=True)
    empty: tuple[bool, bool] = eqx.field(static=True)
    mixed: bool = eqx.field(static=True)

    def factor(self, fermi_level: Array, temperature: Array) -> Float[Array, "... R E"]:
        """f⁰'(ε; μ, T)/f⁰'(ε; μ₀, T₀) for μ and T of any common shape; one at T₀ = 0."""
        if not self.temperature:
            return jnp.ones((*jnp.shape(temperature), *self.energy.shape))
        here = _log_density(self.energy, fermi_level[..., None, None], temperature[..., None, None])
        return jnp.exp(here - _log_density(self.energy, self.fermi_level, self.temperature))

    def check(self, fermi_level: float, temperature: float) -> None:
        """Refuse a μ or T for which the tabulated energies do not do.

        Raises:
            JaxkinError: energies too far apart for so low a temperature, or not reaching far enough.
        """
        if not self.temperature or self.mixed:
            if (fermi_level, temperature) != (self.fermi_level, self.temperature):
                raise JaxkinError(
                    f"the table is for {self.fermi_level:g} eV and {self.temperature:g} K only, not {fermi_level:g} eV "
                    f"and {temperature:g} K: make it from a surface at T > 0 sampled with Lines, or with "
                    "`tabulate_window`."
                )
            return
        if temperature < self.temperature * (1 - 1e-9):
            raise JaxkinError(
                f"T = {temperature:g} K is below {self.temperature:g} K, what the table's energies resolve: "
                "make the table at the lowest temperature that is needed."
            )
        reach = ENOUGH * units.BOLTZMANN * temperature
        short = [
            not empty and distance < reach
            for empty, distance in zip(
                self.empty, (fermi_level - self.window[0], self.window[1] - fermi_level), strict=True
            )
        ]
        if any(short):
            raise JaxkinError(
                f"μ = {fermi_level:g} eV at T = {temperature:g} K needs energies from {fermi_level - reach:.4g} to "
                f"{fermi_level + reach:.4g} eV, the table has {self.window[0]:.4g} to {self.window[1]:.4g}: "
                "make it with `tabulate_window` for wider ones, or narrow the bounds of fermi_level and temperature."
            )


def _log_density(energy, fermi_level, temperature) -> Array:
    """ln(−f⁰' · eV), which does not underflow."""
    kt = units.BOLTZMANN * temperature
    x = jnp.abs((energy - fermi_level) / kt)
    return -x - 2 * jnp.log1p(jnp.exp(-x)) - jnp.log(kt)


def padded(rows: list[list[np.ndarray]], shape: tuple[int, ...], dtype: type = float) -> np.ndarray:
    """(replicas, energies, *shape) from lists of different lengths, filled with zeros."""
    out = np.zeros((len(rows), max((len(row) for row in rows), default=0), *shape), dtype)
    for number, row in enumerate(rows):
        if row:
            out[number, : len(row)] = row
    return out
