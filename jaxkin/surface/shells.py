"""A sampled surface: points, weights and band geometry, with replicas for the error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from jaxkin.errors import JaxkinError
from jaxkin.estimate import Estimate
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.surface.samples import Sampler
from jaxkin.surface.search import Pocket


@dataclass(frozen=True)
class Shell:
    """The points of one replica at one energy: where elastic scattering stays."""

    points: slice
    replica: int
    energy: float


@dataclass(frozen=True)
class Surface:
    """Points that turn ∫(dk)(−f⁰')F, or ∫(dk) δ(ε−μ)F at T = 0, into a weighted sum.

    Arrays run over the points of all replicas, sorted by shell. Energies in eV, ``k`` in model
    coordinates, ``pocket`` an index into ``pockets``, ``velocity`` ∂ε/∂k in eV Å,
    ``berry_curvature`` in Å², ``orbital_moment`` in μ_B, ``weight`` in 1/(eV Å^d) such that
    Σ_{points of one replica} W F is one estimate of the integral.
    ``level_weight`` does the same for ∫(dk) δ(ε−ε_shell)F over the points of a shell.
    """

    model: BlochModel
    fermi_level: float
    temperature: float
    sampler: Sampler
    replicas: int
    seed: int
    k: np.ndarray
    band: np.ndarray
    pocket: np.ndarray
    replica: np.ndarray
    weight: np.ndarray
    level_weight: np.ndarray
    energy: np.ndarray
    velocity: np.ndarray
    berry_curvature: np.ndarray
    orbital_moment: np.ndarray
    shells: tuple[Shell, ...]
    levels: np.ndarray = field(repr=False)
    """The different energies of the shells, in eV; where processes share the replicas, of those of all."""
    pockets: tuple[Pocket, ...]
    fillings: np.ndarray = field(repr=False)
    """(replicas, pockets) thermally averaged filled volume in Å^-d: electrons positive, holes negative."""
    evaluations: int
    verdict: str
    smallest_pocket: float
    """Å⁻¹: no pocket that contains a ball of this diameter was missed."""
    warnings: tuple[str, ...] = ()
    kept: dict = field(init=False, default_factory=dict, repr=False, compare=False)
    """What others computed at great cost for this surface and will want again."""

    def __len__(self) -> int:
        return len(self.k)

    def integrate(self, values: np.ndarray | Callable) -> Estimate:
        """∫(dk)(−f⁰')F with its standard error; ∫(dk) δ(ε−μ)F at T = 0. Units of F per eV Å^d.

        Args:
            values: F at the points, (N, ...), or a JAX function F(k, band) of one point.

        >>> import jaxkin as jk
        >>> model = jk.models.get("helical-isotropic")
        >>> surface = jk.fermi_surface(model, fermi_level=0.5, sampler=jk.Lines(n=8), replicas=4)
        >>> estimate = surface.integrate(lambda k, band: 1.0)  # density of states
        >>> abs(float(estimate.mean) - 0.00241) < 1e-4
        True
        """
        if callable(values):
            values = np.asarray(jax.jit(jax.vmap(values))(jnp.asarray(self.k), jnp.asarray(self.band)))
        values = np.asarray(values)
        if values.shape[:1] != (len(self),):
            raise JaxkinError(f"values have shape {values.shape}; the first axis must be the {len(self)} points.")
        terms = self.weight.reshape(-1, *(1,) * (values.ndim - 1)) * values
        samples = np.zeros((self.replicas, *values.shape[1:]), terms.dtype)
        for shell in self.shells:
            samples[shell.replica] += terms[shell.points].sum(axis=0)
        return Estimate(samples, self.evaluations)

    def density_of_states(self) -> Estimate:
        """∫(dk)(−f⁰') per eV and Å^d; bands are counted as the model has them (no spin factor)."""
        return self.integrate(np.ones(len(self)))

    def carrier_density(self) -> dict[str, Estimate]:
        """Electrons and holes in Å^-d, from the filled lengths of the sampler's lines.

        Closed pockets count from their outside: a pocket of filled states holds electrons, one of
        empty states in a filled band holds holes. A surface that wraps round the zone in all
        directions counts the electrons of its bands.
        """
        return {
            "electrons": Estimate(np.clip(self.fillings, 0, None).sum(axis=1), self.evaluations),
            "holes": Estimate(np.clip(-self.fillings, 0, None).sum(axis=1), self.evaluations),
        }
