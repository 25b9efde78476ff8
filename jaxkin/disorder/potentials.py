"""Form factors V(q) of finite-range potentials."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxkin.brief import brief, constructed
from jaxkin.checks import SMALLEST, check_positive, numbers, shown
from jaxkin.disorder.real_space import RealSpace
from jaxkin.errors import JaxkinError
from jaxkin.namespace import AnyArray, Number, is_traced, leaf, namespace
from jaxkin.surface.surface import Surface

COULOMB = 14.399645478425668
"""e²/4πε₀ in eV Å."""


class Gaussian(eqx.Module):
    """exp(−q²ξ²/2): V(r) ∝ exp(−r²/2ξ²), normalised to V(q=0) = 1.

    What it is good for: docs/impurities.md, "Finite range: rank, error, cost".

    Args:
        width: ξ in Å.

    Raises:
        JaxkinError: a width that is not positive.

    >>> import jaxkin as jk
    >>> float(jk.Gaussian(2.0)([0.0, 0.0, 0.0]))
    1.0
    """

    width: Number = eqx.field(converter=leaf)

    @brief
    def __repr__(self) -> str:
        return constructed(self)

    def __check_init__(self):
        check_positive("width", self.width, "a positive length in Å")

    def __call__(self, q) -> Array:
        q = jnp.asarray(q)
        return self.radial(q @ q)

    def radial(self, square: Array) -> Array:
        """V of q² in Å⁻², of any shape: what depends on |q| alone is evaluated faster."""
        return jnp.exp(-0.5 * self.width**2 * square)

    @property
    def strip(self) -> float:
        """|Im q| in Å⁻¹ to which it is continued."""
        return 1 / float(self.width)

    def in_real_space(self, dimension: int) -> RealSpace:
        """V(r) = exp(−r²/2ξ²)/(2πξ²)^{d/2}, to the radius where it is rounding."""
        norm = (2 * np.pi * self.width**2) ** (-0.5 * dimension)
        return RealSpace(lambda r: norm * jnp.exp(-0.5 * (r @ r) / self.width**2), 8.2 * self.width)


class ScreenedCoulomb(eqx.Module):
    """Screened charge: 4π e²/4πε₀ε /(q² + 1/λ²) in 3D, 2π e²/4πε₀ε /(q + 1/λ) in 2D, in eV Å^d per unit charge.

    In an anisotropic lattice εq² is q·ε·q, and ε elsewhere (det ε)^{1/3}. What it is good for: docs/impurities.md,
    "Finite range: rank, error, cost".

    Args:
        dielectric: relative ε of the lattice; in 3D also the principal values (3,), or a tensor (3, 3).
        length: λ in Å; None takes the length from the surface's density of states ν = ∂n/∂μ, Thomas and Fermi's or, of
            a dilute gas, Debye's: λ⁻² = 4π (e²/4πε₀ε) ν in 3D, λ⁻¹ = 2π (e²/4πε₀ε) ν in 2D.
        core: size a in Å of the orbitals that feel it, exp(−q²a²/2); a crystal's sum over reciprocal
            vectors does not converge without it.
        dimension: 2 or 3; :meth:`on` takes that of the surface's model.

    Raises:
        JaxkinError: numbers that are not positive, a tensor that is not symmetric and positive.

    >>> import jaxkin as jk
    >>> charge = jk.ScreenedCoulomb(dielectric=10.0, length=20.0)
    >>> round(float(charge([0.0, 0.0, 0.0])))  # 4π e²λ²/ε
    7238
    """

    dielectric: Number = eqx.field(converter=leaf)
    length: Number | None = eqx.field(default=None, converter=leaf)
    core: Number = eqx.field(default=1.0, converter=leaf)
    dimension: int = eqx.field(static=True, default=3)

    @brief
    def __repr__(self) -> str:
        return constructed(self)

    def __check_init__(self):
        _check_permittivity(self.dielectric)
        check_positive("length", self.length, "a positive length in Å, or None", optional=True)
        check_positive("core", self.core, "a length in Å, zero or more", zero=True)

    def on(self, surface: Surface) -> ScreenedCoulomb:
        """With the dimension and, if it was left open, the Thomas–Fermi length of a surface.

        Raises:
            JaxkinError: a model of one dimension, a tensor ε in two; no states at the Fermi level, that would screen.
        """
        d = surface.model.dimension
        if d not in (2, 3):
            raise JaxkinError("ScreenedCoulomb exists in two and three dimensions.")
        if d == 2 and np.ndim(self.dielectric):
            raise JaxkinError("an anisotropic dielectric is for three dimensions; in two give one number.")
        length = self.length
        if length is None:
            nu = surface.density_of_states().mean
            if not is_traced(nu) and not nu > 0:
                raise JaxkinError("no states at the Fermi level, so no Thomas–Fermi screening: give `length`.")
            inverse = (4 if d == 3 else 2) * jnp.pi * COULOMB / self._mean * nu
            length = inverse**-0.5 if d == 3 else 1 / inverse
        return ScreenedCoulomb(self.dielectric, length, self.core, d)

    @property
    def _mean(self) -> AnyArray:
        """(det ε)^{1/3}."""
        xp = namespace(self.dielectric)
        kind = np.ndim(self.dielectric)
        if not kind:
            return self.dielectric
        return (xp.prod(self.dielectric) if kind == 1 else xp.linalg.det(self.dielectric)) ** (1 / 3)

    def __call__(self, q) -> Array:
        q = jnp.asarray(q)
        epsilon = jnp.asarray(self.dielectric)
        screened = q @ (epsilon @ q) if epsilon.ndim == 2 else q @ (epsilon * q)
        return self._screened(q @ q, screened)

    @property
    def strip(self) -> float:
        """|Im q| in Å⁻¹ to which it is continued: half way to the pole; in two dimensions q = 0 is a branch point."""
        if self.dimension == 2 or self.length is None:
            return 0.0
        largest = np.max(self.dielectric) if np.ndim(self.dielectric) < 2 else np.linalg.norm(self.dielectric, 2)
        pole = float(np.sqrt(self._mean / largest) / self.length)
        return min(0.5 * pole, 1 / max(float(self.core), 1e-300))

    @property
    def radial(self) -> Callable[[Array], Array] | None:
        """V of q² in Å⁻², of any shape; None where ε is a tensor."""
        return self._of_square if np.ndim(self.dielectric) == 0 else None

    def _of_square(self, square: Array) -> Array:
        return self._screened(square, self.dielectric * square)

    def _screened(self, square: Array, screened: Array) -> Array:
        """Of q² and q·ε·q."""
        if self.length is None:
            raise JaxkinError("ScreenedCoulomb has no screening length yet: give `length`, or call on(surface).")
        smear = jnp.exp(-0.5 * self.core**2 * square)
        if self.dimension == 3:
            return 4 * jnp.pi * COULOMB * smear / (screened + self._mean * self.length**-2)
        # the norm's derivative is not finite at q = 0, where the kernel's weight is
        norm = jnp.sqrt(jnp.where(square > 0, square, 1e-100))
        return 2 * jnp.pi * COULOMB / self.dielectric * smear / (norm + 1 / self.length)


def _check_permittivity(dielectric: AnyArray) -> None:
    """Refuse what is not a positive number, three of them or a positive symmetric tensor, if it has a value yet."""
    meaning = "a positive number, three principal values, or a positive symmetric tensor (3, 3)"
    if is_traced(dielectric) or np.ndim(dielectric) == 0:
        check_positive("dielectric", dielectric, "a positive number")
        return
    tensor = numbers("dielectric", dielectric, meaning)
    tensor = np.diag(tensor) if tensor.shape == (3,) else tensor
    if tensor.shape != (3, 3) or not np.allclose(tensor, tensor.T) or not np.linalg.eigvalsh(tensor).min() >= SMALLEST:
        raise JaxkinError(f"dielectric={shown(dielectric)} must be {meaning}.")
