"""Diagnostics of a run: what must hold, how well it held, and why it might not."""

from __future__ import annotations

from dataclasses import dataclass

from jaxkin.disorder.collisions import Collisions
from jaxkin.response.boltzmann import ShellResponse

FLUX_LIMIT = ONSAGER_LIMIT = 0.02
RESIDUAL_LIMIT = 1e-8


@dataclass(frozen=True)
class Quality:
    """Relative violations, averaged over the shells with their density of states.

    Attributes:
        flux: |∫(dp') w^A δ| of ∫(dp') |w^A| δ; Eqs. (34), (35) say zero.
        optical_theorem: |ħΓ/n + 2 Im T_pp| of ħΓ/n; None for a real T (Born, third order, prescribed
            kernels), which does not contain it.
        onsager: |λ_abc + λ_bac| without w^A; time reversal says zero.
        residual: largest of the linear solves.
        weight: density of states seen so far.
    """

    flux: float = 0.0
    optical_theorem: float | None = None
    onsager: float = 0.0
    residual: float = 0.0
    weight: float = 0.0

    def including(self, collisions: Collisions, part: ShellResponse, weight: float) -> Quality:
        """With one more shell."""
        total = self.weight + weight
        share = weight / total if total else 0.0
        optical = collisions.optical_theorem
        return Quality(
            flux=self.flux + share * (collisions.flux_violation - self.flux),
            optical_theorem=optical if self.optical_theorem is None else max(self.optical_theorem, optical or 0.0),
            onsager=self.onsager + share * (part.onsager - self.onsager),
            residual=max(self.residual, part.residual),
            weight=total,
        )

    def warnings(self) -> tuple[str, ...]:
        """One line for each violation, with its likely cause."""
        found = []
        if self.flux > FLUX_LIMIT:
            found.append(
                f"w^A does not conserve flux: |∫w^A δ| reaches {self.flux:.2g} of ∫|w^A| δ (Eq. (34) says zero). "
                "Either the surface is sampled too coarsely (raise n), or the kernel's axis is not a symmetry axis "
                "of the surface."
            )
        if self.onsager > ONSAGER_LIMIT:
            found.append(
                f"the Onsager relation λ_abc = −λ_bac is violated by {self.onsager:.2g}: H(k) breaks time reversal "
                "(λ then has a symmetric part that g does not contain), or the surface is sampled too coarsely "
                "(raise n)."
            )
        if self.residual > RESIDUAL_LIMIT:
            found.append(
                f"the collision operator was inverted to a residual of {self.residual:.1g} only: parts of the "
                "surface are hardly coupled by the impurities; add a second kind of impurity, or use solver='rta' (or "
                "the memory budget is small: raise it)."
            )
        return tuple(found)
