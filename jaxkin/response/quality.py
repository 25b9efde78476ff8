"""Diagnostics of a run: what must hold, how well it held, and why it might not."""

from __future__ import annotations

import equinox as eqx

from jaxkin.brief import brief
from jaxkin.errors import JaxkinError
from jaxkin.namespace import AnyArray, Number, is_traced, namespace
from jaxkin.response.shell import Measures
from jaxkin.response.vanishing import Vanishing

FLUX_LIMIT = ONSAGER_LIMIT = CONTINUITY_LIMIT = 0.02
LOST_LIMIT = 1e-3
"""Of the mean that the velocity has with the lost flux; it is smaller than the largest flux at a point."""
LARGEST_OF_MANY = 3.5
"""Standard deviations that the largest of a thousand points is off."""
RESIDUAL_LIMIT = 1e-8
RESIDUAL_ERROR = 1e-3
"""A residual that is larger is no solution."""
SATURATION_LIMIT = 0.2
"""Of the Born scattering that unitarity takes away, sin²δ: |δ| = 27°, |tan δ| = π|v| = ½. Re G, left out, changes T by
a part of the order of tan δ: by a half, and a transport time by up to two, measured (docs/impurities.md)."""


COARSENESS_LIMIT = 0.15
"""Of the scattering that is from a point to itself: with 0.29 on small shells the exact τ of tellurium at 77 K was
twice what it is with more points, with 0.16 within its error (docs/impurities.md)."""


class Quality(eqx.Module):
    """Relative violations, averaged over the shells with their density of states.

    Attributes:
        flux: |∫(dp') w^A δ| of ∫(dp') |w^A| δ; Eqs. (34), (35) say zero.
        flux_noise: what so few points, independent of one another, would make of it.
        lost: its sums with the velocity, of each replica.
        optical_theorem: |ħΓ/n + 2 Im T_pp| of ħΓ/n, the largest; None for a real T (Born, third order, prescribed
            kernels), which does not contain it.
        saturation: the part of Born scattering that unitarity takes away, 0 to 1, where T leaves out Re G (potentials
            of finite range); averaged with the shells' shares of the current. Else None.
        coarseness: the part of scattering that sums over points take for scattering from a point to itself, where the
            current flows: one over the number of points within a kernel's reach.
        reversal: λ_abc + λ_bac without w^A of each replica; time reversal says zero.
        continuity: |⟨1|D|v⟩ + ⟨v_sj|v⟩|, that electrons which jump are neither lost nor made; zero.
        residual: largest of the linear solves.
        weight: density of states of the shells.
        current: Drude conductivity of the shells, in any unit.
    """

    flux: Number = 0.0
    flux_noise: Number = 0.0
    lost: Vanishing | None = None
    optical_theorem: Number | None = None
    saturation: Number | None = None
    coarseness: Number = 0.0
    reversal: Vanishing | None = None
    continuity: Number = 0.0
    residual: Number = 0.0
    weight: Number = 0.0
    current: Number = 0.0

    @brief
    def __repr__(self) -> str:
        optical = "" if self.optical_theorem is None else f", optical theorem {float(self.optical_theorem):.1g}"
        saturated = "" if self.saturation is None else f", saturation {float(self.saturation):.2g}"
        return (
            f"Quality, relative violations: flux {float(self.flux):.1g} (noise {float(self.flux_noise):.1g}), Onsager "
            f"{float(self.onsager):.1g}, continuity {float(self.continuity):.1g}{optical}{saturated}; "
            f"coarseness {float(self.coarseness):.1g}, residual {float(self.residual):.1g}"
        )

    @classmethod
    def of(cls, measures: Measures, weight: AnyArray, current: AnyArray, member: AnyArray, all_points: bool) -> Quality:
        """From those of all shells, leaves (shells, ...).

        Args:
            measures: of the shells.
            weight: their densities of states.
            current: their Drude conductivities.
            member: 1 in the row of a shell's replica.
            all_points: whether a shell's points are all that there are, as in one dimension.
        """
        xp = namespace(measures.flux, weight)
        total = xp.sum(weight)
        share = weight / xp.where(total == 0, 1.0, total)
        optical = measures.optical_theorem
        return cls(
            flux=xp.sum(share * measures.flux),
            flux_noise=LARGEST_OF_MANY * xp.sum(share * measures.spread),
            lost=measures.lost.gathered(member),
            optical_theorem=None if optical is None else xp.max(optical, initial=0.0),
            saturation=None if measures.saturation is None else of_current(measures.saturation, current),
            coarseness=xp.zeros(()) if all_points else of_current(measures.coarseness, current),
            reversal=measures.reversal.gathered(member),
            continuity=xp.sum(share * measures.continuity),
            residual=xp.max(measures.residual, initial=0.0),
            weight=total,
            current=xp.sum(current),
        )

    @property
    def onsager(self) -> Number:
        """Largest |λ_abc + λ_bac| without w^A, of |λ|."""
        return 0.0 if self.reversal is None else self.reversal.violation

    def warnings(self) -> tuple[str, ...]:
        """One line for each violation, with its likely cause; none where nothing has a value yet."""
        if is_traced(self.flux, self.saturation, self.reversal, self.continuity, self.residual):
            return ()
        found = []
        lost = self.lost is not None and self.lost.exceeds(LOST_LIMIT)
        if self.flux > FLUX_LIMIT and (lost or self.flux > self.flux_noise):
            found.append(
                f"w^A does not conserve flux: |∫w^A δ| reaches {self.flux:.2g} of ∫|w^A| δ (Eq. (34) says zero). "
                "Either the surface is sampled too coarsely (raise n), or the kernel's axis is not a symmetry axis "
                "of the surface."
            )
        if self.reversal is not None and self.reversal.exceeds(ONSAGER_LIMIT):
            found.append(
                f"the Onsager relation λ_abc = −λ_bac is violated by {self.onsager:.2g}: H(k) breaks time reversal "
                "(λ then has a symmetric part that g does not contain), or the surface is sampled too coarsely "
                "(raise n)."
            )
        if self.continuity > CONTINUITY_LIMIT:
            found.append(
                f"w^S δr does not conserve electrons, by {self.continuity:.2g} of v_sj: the shift must change sign "
                "when p and p' are exchanged."
            )
        if self.residual > RESIDUAL_LIMIT:
            found.append(
                f"the collision operator was inverted to a residual of {self.residual:.1g} only: parts of the "
                "surface are hardly coupled by the impurities; add a second kind of impurity, or use solver='rta' (or "
                "the memory budget is small: raise it)."
            )
        return (*found, *scattering_warnings(self.saturation, self.coarseness))


def of_current(values: AnyArray, current: AnyArray) -> Number:
    """The mean over shells, weighted with their Drude conductivities: a shell that carries nothing does no harm."""
    xp = namespace(values, current)
    total = xp.sum(current)
    return xp.sum(values * current) / xp.where(total == 0, 1.0, total)


def scattering_warnings(saturation: Number | None, coarseness: Number) -> tuple[str, ...]:
    """One line where points are too few for a kernel, or unitarity takes so much away that T without Re G may be wrong.

    The second is not said with the first, which makes it; none while traced.
    """
    if not is_traced(coarseness) and coarseness > COARSENESS_LIMIT:
        return (
            f"where the current flows {100 * float(coarseness):.0f} % of the scattering is from a point of the surface "
            "to itself: too few points lie within the reach of the potential, or on single shells at T > 0, and "
            "carriers seem more mobile than they are. Raise n until this is small; Grid needs most.",
        )
    if saturation is None or is_traced(saturation) or not saturation > SATURATION_LIMIT:
        return ()
    return (
        f"a potential of finite range is so strong that unitarity takes {100 * float(saturation):.0f} % of its Born "
        "scattering away where the current flows: the T-matrix on the shell, which leaves out Re G, is not known to be "
        "right there, and in the limit makes carriers mobile without bound. off_shell=True has Re G; where that takes "
        "too long, see what order='third' or 'born' give, or screen the potential more.",
    )


def check_residual(residual: float) -> None:
    """Refuse what the exact solver has not solved.

    Raises:
        JaxkinError: a residual that is not small.
    """
    if not residual <= RESIDUAL_ERROR:
        raise JaxkinError(
            f"solver='exact' did not converge: residual {residual:.1g}. Raise the memory budget or n, or use "
            "solver='rta'."
        )
