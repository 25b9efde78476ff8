"""Scattering by two impurities without crossing, ∝ n²: Gaussian skew scattering, and what goes with it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxkin.disorder.amplitude import golden_rule
from jaxkin.disorder.nonlocal_collisions import Amplitude, OrbitalStates
from jaxkin.hamiltonian.eigensystem import DEGENERACY_TOLERANCE


class PairGreen(NamedTuple):
    """Two clean Green functions, both retarded, on the d orbitals: :func:`jaxkin.surface.pair_green.pair_green`.

    Attributes:
        pairs: F_{(m n),(m' n')} = ∫(dk) G_mm' G_n'n, so that F[X] = ∫(dk) G X G, (d², d²) in 1/(eV² Å^d).
        slope: ∂G/∂ε = −∫(dk) (G²)_mm' through all orbitals of the model, (d, d) in 1/(eV² Å^d).
    """

    pairs: Complex[Array | np.ndarray, "d2 d2"]
    slope: Complex[Array | np.ndarray, "d d"]

    def between(self, x: Complex[Array, "... d d"]) -> Complex[Array, "... d d"]:
        """F[X]."""
        d = x.shape[-1]
        return (x.reshape(*x.shape[:-2], d * d) @ self.pairs.T).reshape(x.shape)


class TwoImpurities:
    """w⁽²⁾_{pp'} ∝ n², p' → p, of impurities that act in d orbitals, in O(N d²) for each function.

    The averaged Green function between two scatterings is not that of the clean crystal: with the anti-Hermitian
    self-energy Σ = −iπ Σ_s W n T P_s T† (P_s = |s⟩⟨s|, the sum also over all kinds of impurities; its Hermitian part
    belongs to the bands), K[X] = Σ n T X T†, and ⟨p|T|p'⟩ = x,

    (ħ/2π) w⁽²⁾ = n 2Re{x* (⟨p|T|δp'⟩ − ⟨δp|T|p'⟩ + ⟨p|δT|p'⟩)} + ⟨p|K M K[P_p']|p⟩.

    - The ends: the right and left eigenvectors of H + Σ are |p⟩ ± |δp⟩ with |δp⟩ = Q_p Σ|p⟩ and the reduced resolvent
      Q_s = Σ_{m≠s} |m⟩⟨m|/(ε_s − ε_m).
    - The step in between: of G^R X G^A what is left beside the pole of one band is
      M[X] = iπ Σ_s W_s (Q_s X P_s − P_s X Q_s) + ½ ∫(G^R X G^R + G^A X G^A).
    - The amplitude itself: δT = T δG T with δG = ∫ G^R Σ G^R.

    With real amplitudes (Born) G^R G^R has no part that is odd in p ↔ p', and δT is of a higher order: leave
    ``green`` out. Each part alone violates flux conservation; their sum obeys ∫w⁽²⁾_{pp'} δ = ∫w⁽²⁾_{p'p} δ
    = Γ⁽²⁾_p, whatever G^R G^R is.

    Args:
        states: the shell.
        reduced: Q_p between the orbitals, (N, d, d) in 1/eV: :func:`reduced_resolvent`.
        impurities: all kinds of one sample.
        green: what complex amplitudes need.
    """

    def __init__(
        self,
        states: OrbitalStates,
        reduced: Complex[Array, "N d d"],
        impurities: Sequence[Amplitude],
        green: PairGreen | None = None,
    ):
        self._states, self._reduced, self._impurities, self._green = states, reduced, tuple(impurities), green
        rho = states.density
        out = sum((n * (t @ rho @ t.conj().T) for n, t in self._impurities), jnp.zeros(()))
        sigma = -1j * jnp.pi * out
        self._mixed = jnp.einsum("nab,bc,nc->na", reduced, sigma, states.local)  # |δp⟩
        change = None if green is None else green.between(sigma)
        self._changes = [jnp.zeros_like(t) if change is None else t @ change @ t for _, t in self._impurities]

    def apply(self, x: Float[Array, "N m"]) -> tuple[Float[Array, "N m"], Float[Array, "N m"]]:
        """∫(dp') w⁽²⁾_{pp'} δ(ε−ε') x_p' and the same with p and p' exchanged in w⁽²⁾, in 1/ps."""
        return self._directed(x, 1), self._directed(x, -1)

    def skew(self, x: Float[Array, "N m"]) -> Float[Array, "N m"]:
        """The odd half, A⁽²⁾ x: Gaussian skew scattering. It enters g as the A of one impurity does."""
        there, back = self.apply(x)
        return 0.5 * (there - back)

    def loss(self, x: Float[Array, "N m"]) -> Float[Array, "N m"]:
        """The even half as a part of the collision operator, L⁽²⁾ x = Γ⁽²⁾ x − S⁽²⁾ x; complete only with ``green``."""
        there, back = self.apply(jnp.concatenate([jnp.ones((len(x), 1)), x], axis=1))
        even = 0.5 * (there + back)
        return even[:, :1] * x - even[:, 1:]

    @cached_property
    def delay(self) -> tuple[Float[Array, " N"], Float[Array, " N"]]:
        """h and h' of the density that electrons have while they are scattered: Σ W (1 + h) f is conserved.

        h_p = −n Re⟨p|T† ∂_εG T|p⟩; h' with T and T† exchanged, which weighs what is solved for from the left. The
        component of R|v⟩ along the constant is fixed by zero density, so with skew scattering by −∫h R|v⟩/∫1.

        Raises:
            ValueError: without ``green``.
        """
        if self._green is None:
            raise ValueError("the delay needs the energy derivative of the Green function: pass green.")
        slope = jnp.asarray(self._green.slope)
        forms = [sum(n * (a.conj().T @ slope @ a) for n, a in self._both(side)) for side in (1, -1)]
        found = -jnp.real(self._states.expected(jnp.stack(forms)))  # pyright: ignore[reportArgumentType]
        return found[:, 0], found[:, 1]

    def _both(self, side: int) -> list[tuple]:
        """(n, T), or (n, T†)."""
        return [(n, t if side > 0 else t.conj().T) for n, t in self._impurities]

    def _directed(self, x: Float[Array, "N m"], side: int) -> Float[Array, "N m"]:
        """With T and T†, G^R and G^A exchanged for ``side`` −1, which is the exchange of p and p'."""
        states, kinds = self._states, self._both(side)
        weighted = states.weights[:, None] * x
        rho = states.moment(x)
        mixed = side * jnp.einsum("nm,na,nb->mab", weighted, self._mixed, states.local.conj(), optimize=True)
        once = sum((n * (t @ rho @ t.conj().T) for n, t in kinds), jnp.zeros(()))
        between = self._step(once, side)
        form = sum((n * (t @ (2 * mixed + between) @ t.conj().T) for n, t in kinds), jnp.zeros(()))
        for (n, t), change in zip(kinds, self._changes, strict=True):
            form = form + 2 * n * ((change if side > 0 else change.conj().T) @ rho @ t.conj().T)
        images = jnp.einsum("mab,nb->nma", once, states.local)
        ends = side * jnp.einsum("na,nma->nm", self._mixed.conj(), images)
        return golden_rule(1.0) * jnp.real(states.expected(form) - 2 * ends)

    def _step(self, x: Complex[Array, "m d d"], side: int) -> Complex[Array, "m d d"]:
        """M[X] of Hermitian X."""
        u = self._states.local
        images = jnp.einsum("nab,nmb->nma", self._reduced, jnp.einsum("mab,nb->nma", x, u))
        first = 1j * side * jnp.pi * jnp.einsum("n,nma,nb->mab", self._states.weights, images, u.conj(), optimize=True)
        total = first + _dagger(first)
        if self._green is not None:
            both = self._green.between(x)
            total = total + 0.5 * (both + _dagger(both))
        return total


def _dagger(matrices: Complex[Array, "... d d"]) -> Complex[Array, "... d d"]:
    return jnp.conj(jnp.swapaxes(matrices, -1, -2))


@jax.jit
def reduced_resolvent(
    energies: Float[Array, "N b"],
    amplitudes: Complex[Array, "N d b"],
    level: Float[Array, ""] | float,
) -> Complex[Array, "N d d"]:
    """Q_p = Σ_{m≠p} ⟨·|m⟩⟨m|·⟩/(ε − ε_m) on d orbitals, in 1/eV; bands at ε itself, a degenerate set, are left out.

    Args:
        energies: of all bands at the k of each state, in eV.
        amplitudes: e^{ik·(R+τ)} times the orbitals' components of these bands.
        level: ε.

    >>> import jax.numpy as jnp
    >>> q = reduced_resolvent(jnp.array([[0.0, 2.0]]), jnp.eye(2)[None], 0.0)
    >>> [float(x) for x in q[0].diagonal()]
    [0.0, -0.5]
    """
    gap = level - energies
    inverse = jnp.where(jnp.abs(gap) < DEGENERACY_TOLERANCE, 0.0, 1 / jnp.where(gap == 0, 1.0, gap))
    return (amplitudes * inverse[:, None, :]) @ _dagger(amplitudes)
