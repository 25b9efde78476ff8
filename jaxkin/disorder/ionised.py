"""Ionised impurities of several charges, as many as make the sample neutral."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import equinox as eqx
import numpy as np
from jaxtyping import Float

from jaxkin.brief import brief, listed
from jaxkin.checks import check_kind, check_number, check_positive, shown
from jaxkin.disorder.amplitude import Order
from jaxkin.disorder.finite_range import FiniteRangeImpurity
from jaxkin.disorder.kernels import Disorder, Mixture, Scatterer
from jaxkin.disorder.potentials import ScreenedCoulomb
from jaxkin.errors import JaxkinError
from jaxkin.namespace import AnyArray, Number, is_traced, leaf
from jaxkin.surface.surface import Surface

MOST = 9
"""|Z|."""


class IonisedImpurities(Disorder):
    """Charged donors and acceptors, all ionised, whose densities follow from the carriers': Σ_i Z_i n_i = n − p.

    Each scatters with the screened potential of its charge, −Z e²/(ε₀ε q² + e² ∂n/∂μ) for electrons of the model's
    bands (what attracts them repels holes), λ⁻² = e² ∂n/∂μ/ε₀ε from the surface's own density of states at its μ and T:
    Thomas and Fermi's length of a degenerate gas, Debye's of a dilute one; Brooks and Herring's rate in Born order:
    docs/impurities.md, "Ionised impurities".
    With Z of both signs and a compensation K those that make the carriers are |n − p|/(1 − K) charges, the others K
    times as many. Kinds of one sign share its density by ``charges``, equal parts unless these are a mapping.

    Args:
        charges: Z of each kind in |e|: acceptors −1, double donors 2; or {Z: part of its sign's number}.
        dielectric: ε of the lattice, as of :class:`ScreenedCoulomb`.
        compensation: K, from 0 to below 1; of charges of both signs.
        density: n − p in Å^-d; None takes the surface's own: at the μ(T) of a density (:func:`fermi_level`) that
            density. Of a surface evaluated elsewhere it has to be given.
        length: λ in Å; None takes that of the surface.
        core: in Å, as of :class:`ScreenedCoulomb`.
        order: as of :class:`FiniteRangeImpurity`.
        positions: where they sit, as of :class:`FiniteRangeImpurity`.
        off_shell: as of :class:`FiniteRangeImpurity`.

    Raises:
        JaxkinError: charges that are not whole numbers from −9 to 9 without 0, or cannot make the carriers neutral; a
            compensation without charges of both signs.

    >>> import jaxkin as jk
    >>> surface = jk.fermi_surface(jk.models.get("helical-isotropic"), 0.1, sampler=jk.Lines(8), replicas=2)
    >>> dopants = jk.IonisedImpurities({1: 1.0, -1: 1.0}, dielectric=10.0, compensation=0.5, core=0.0)
    >>> kinds = dopants.densities(surface)
    >>> round(float(kinds[-1] / kinds[1]), 2), bool(kinds[1] - kinds[-1] < 1.001 * kinds[-1])  # K, and neutrality
    (0.5, True)
    """

    charges: tuple[int, ...] = eqx.field(static=True)
    shares: Float[AnyArray, " kinds"]
    dielectric: Number
    compensation: Number
    density: Number | None
    length: Number | None
    core: Number
    order: Order = eqx.field(static=True)
    positions: tuple[tuple[float, ...], ...] = eqx.field(static=True)
    off_shell: bool = eqx.field(static=True)

    def __init__(
        self,
        charges: Sequence[int] | Mapping[int, float],
        dielectric: Number | Sequence,
        compensation: Number = 0.0,
        density: Number | None = None,
        *,
        length: Number | None = None,
        core: Number = 1.0,
        order: Order = "tmatrix",
        positions: Sequence[float] | Sequence[Sequence[float]] = (0.0, 0.0, 0.0),
        off_shell: bool = False,
    ):
        meaning = "charges in |e|, such as [-1, 2], or a mapping from these to parts"
        check_kind("charges", charges, (Sequence, Mapping, np.ndarray), meaning)
        parts = dict(charges) if isinstance(charges, Mapping) else dict.fromkeys(charges, 1.0)
        whole = {z for z in parts if isinstance(z, int | np.integer) and not isinstance(z, bool) and 0 < abs(z) <= MOST}
        if not parts or len(whole) < len(parts) or len(parts) < len(charges):
            raise JaxkinError(
                f"charges={shown(charges)} must be {meaning}, each once, from -{MOST} to {MOST} without 0."
            )
        for z, part in parts.items():
            check_positive(f"charges[{z}]", part, "a positive part of the impurities of its sign")
        check_number("compensation", compensation, "a number from 0 to below 1", least=0.0, most=1 - 1e-9)
        check_number("density", density, "electrons − holes in Å^-d, or None for those of the surface", optional=True)
        self.charges, self.shares = tuple(map(int, parts)), np.array(list(parts.values()), float)
        if len({z > 0 for z in self.charges}) < 2 and not is_traced(compensation) and compensation != 0:
            raise JaxkinError(f"compensation={compensation:g} needs charges of both signs, not {listed(self.charges)}.")
        self.dielectric, self.length, self.core = leaf(dielectric), leaf(length), leaf(core)
        self.compensation, self.density = leaf(compensation), leaf(density)
        self.order, self.positions, self.off_shell = order, positions, off_shell  # pyright: ignore[reportAttributeAccessIssue]
        self.positions = self._kind(1, 1.0).positions  # which refuses what makes no sense

    @brief
    def __repr__(self) -> str:
        return (
            f"IonisedImpurities(charges {', '.join(f'{z:+d}' for z in self.charges)} |e|, dielectric="
            f"{listed(np.ravel(self.dielectric))}, compensation={float(self.compensation):.4g}, order={self.order!r})"
        )

    def densities(self, surface: Surface) -> dict[int, Number]:
        """Impurities of each charge in Å^-d in the sample of a surface.

        Raises:
            JaxkinError: no carriers, or of a sign that these charges do not make; a surface evaluated elsewhere, of
                which the density was not given.
        """
        net = self.density
        if net is None:
            if surface.elsewhere:
                raise JaxkinError(
                    "the carriers of a surface evaluated elsewhere are not counted: give the `density` of "
                    "IonisedImpurities, electrons − holes in Å^-d."
                )
            found = surface.carrier_density()
            net = float(found["electrons"].mean - found["holes"].mean)
        if is_traced(net):
            raise JaxkinError(
                "the `density` of IonisedImpurities decides which of them are the majority: give a number."
            )
        majority = [z for z in self.charges if z * float(net) > 0]
        if not majority:
            carriers = "no carriers" if not net else "electrons" if net > 0 else "holes"
            raise JaxkinError(
                f"charges {listed(self.charges)} cannot make {abs(float(net)):.3g} Å^-d {carriers} neutral: electrons "
                "need positive ions, holes negative ones."
            )
        total = abs(net) / (1 - self.compensation)
        return {
            z: part * (total if z in majority else self.compensation * total)
            for z, part in zip(self.charges, self._per_charge(), strict=True)
        }

    def _per_charge(self) -> list[Number]:
        """Impurities of each kind per charge of its sign."""
        signs = np.sign(self.charges)
        whole = [sum(self.shares[n] * abs(z) for n, z in enumerate(self.charges) if signs[n] == s) for s in signs]
        return [share / every for share, every in zip(self.shares, whole, strict=True)]

    def impurities(self, surface: Surface) -> Disorder:
        """The impurities in the sample of a surface: a :class:`FiniteRangeImpurity`, or a :class:`Mixture` of them.

        Raises:
            JaxkinError: as :meth:`densities`.
        """
        kinds = tuple(self._kind(z, n) for z, n in self.densities(surface).items() if is_traced(n) or n > 0)
        return kinds[0] if len(kinds) == 1 else Mixture(kinds)

    def _kind(self, charge: int, density: Number) -> FiniteRangeImpurity:
        """One kind of ions, with their potential for electrons."""
        return FiniteRangeImpurity(
            ScreenedCoulomb(self.dielectric, self.length, self.core),
            -charge,
            density,
            order=self.order,
            positions=self.positions,
            off_shell=self.off_shell,
        )

    def on(self, surface: Surface) -> Scatterer:
        return self.impurities(surface).on(surface)
