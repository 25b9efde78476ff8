"""Diagnostics of a run: what must hold, how well it held, and why it might not."""

from __future__ import annotations

import equinox as eqx

from jaxkin.namespace import AnyArray, Number, is_traced, namespace
from jaxkin.response.shell import Measures

FLUX_LIMIT = ONSAGER_LIMIT = CONTINUITY_LIMIT = 0.02
RESIDUAL_LIMIT = 1e-8


class Quality(eqx.Module):
    """Relative violations, averaged over the shells with their density of states.

    Attributes:
        flux: |∫(dp') w^A δ| of ∫(dp') |w^A| δ; Eqs. (34), (35) say zero.
        optical_theorem: |ħΓ/n + 2 Im T_pp| of ħΓ/n, the largest; None for a real T (Born, third order, prescribed
            kernels), which does not contain it.
        onsager: |λ_abc + λ_bac| without w^A; time reversal says zero.
        continuity: |⟨1|D|v⟩ + ⟨v_sj|v⟩|, that electrons which jump are neither lost nor made; zero.
        residual: largest of the linear solves.
        weight: density of states of the shells.
    """

    flux: Number = 0.0
    optical_theorem: Number | None = None
    onsager: Number = 0.0
    continuity: Number = 0.0
    residual: Number = 0.0
    weight: Number = 0.0

    @classmethod
    def of(cls, measures: Measures, weight: AnyArray) -> Quality:
        """From those of all shells, leaves (shells,), and their densities of states."""
        xp = namespace(measures.flux, weight)
        total = xp.sum(weight)
        share = weight / xp.where(total == 0, 1.0, total)
        optical = measures.optical_theorem
        return cls(
            flux=xp.sum(share * measures.flux),
            optical_theorem=None if optical is None else xp.max(optical, initial=0.0),
            onsager=xp.sum(share * measures.onsager),
            continuity=xp.sum(share * measures.continuity),
            residual=xp.max(measures.residual, initial=0.0),
            weight=total,
        )

    def warnings(self) -> tuple[str, ...]:
        """One line for each violation, with its likely cause; none where nothing has a value yet."""
        if is_traced(self.flux, self.onsager, self.continuity, self.residual):
            return ()
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
        return tuple(found)
