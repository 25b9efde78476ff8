"""``[[disorder.phonons]]``: one table for each kind of phonons, with the keys that this kind has."""

from __future__ import annotations

from jaxkin.cli.section import Section
from jaxkin.disorder import AcousticPhonons, Disorder, PhononRate, PolarPhonons


class PhononConfig(Section, frozen=True, tag_field="kind"):
    """What all kinds have: the lattice's ``temperature``, where it is not that of the surface."""

    temperature: float | None = None


class AcousticConfig(PhononConfig, frozen=True, kw_only=True, tag="acoustic"):
    """As :class:`jaxkin.AcousticPhonons`."""

    deformation_potential: float
    mass_density: float
    sound_velocity: float
    bloch_gruneisen: bool = False
    cutoff: float | None = None

    def build(self) -> Disorder:
        """The phonons of the library."""
        return AcousticPhonons(
            self.deformation_potential,
            self.mass_density,
            self.sound_velocity,
            self.temperature,
            self.bloch_gruneisen,
            self.cutoff,
        )


class PolarConfig(PhononConfig, frozen=True, kw_only=True, tag="polar"):
    """As :class:`jaxkin.PolarPhonons`."""

    energy: float
    dielectric: float
    static_dielectric: float
    length: float | None = None

    def build(self) -> Disorder:
        """The phonons of the library."""
        return PolarPhonons(self.energy, self.dielectric, self.static_dielectric, self.length, self.temperature)


class RateConfig(PhononConfig, frozen=True, kw_only=True, tag="rate"):
    """As :class:`jaxkin.PhononRate`."""

    tau: float
    exponent: float = 1.0
    reference: float = 300.0
    edge: float | None = None
    energy_exponent: float = 0.5
    energy: float = 0.025

    def build(self) -> Disorder:
        """The phonons of the library."""
        return PhononRate(
            self.tau, self.exponent, self.reference, self.edge, self.energy_exponent, self.energy, self.temperature
        )


Phonon = AcousticConfig | PolarConfig | RateConfig
KINDS: dict[str, type[PhononConfig]] = {"acoustic": AcousticConfig, "polar": PolarConfig, "rate": RateConfig}
NEEDED = {
    "kind": "'acoustic', 'polar' or 'rate'",
    "deformation_potential": "in eV",
    "mass_density": "in kg/m^d",
    "sound_velocity": "in m/s",
    "energy": "of the longitudinal optical mode in eV",
    "dielectric": "the permittivity at high frequency",
    "static_dielectric": "the static permittivity",
    "tau": "in ps at the reference temperature",
}
"""What to say of a key that is missing."""
