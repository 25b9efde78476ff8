"""What a scattering kernel may know of a state."""

from __future__ import annotations

from functools import cached_property

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.sparse import coo_array, csgraph
from scipy.spatial import KDTree

from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.memory import demand
from jaxkin.surface.points import STATES, point_geometry
from jaxkin.surface.shells import Shell, Surface
from jaxkin.surface.traced import TracedShells, TracedSurface

TOGETHER = 1e-8
"""Distance in model coordinates of points at the same k: bands that meet the level there are degenerate."""


class State(eqx.Module):
    """A state on a constant-energy surface; kernels get two of them.

    Attributes:
        k: Cartesian, Å⁻¹.
        energy: eV.
        velocity: ∂ε/∂k in eV Å.
        berry_curvature: Å².
        orbital_moment: μ_B.
        density_of_states: ν of the whole surface at this energy, 1/(eV Å^d).
    """

    k: Float[Array, "... 3"]
    energy: Float[Array, "..."]
    velocity: Float[Array, "... 3"]
    berry_curvature: Float[Array, "... 3"]
    orbital_moment: Float[Array, "... 3"]
    density_of_states: Float[Array, "..."]


def first_together(k: np.ndarray) -> np.ndarray:
    """For each of (N, d) points the number of the first that is at the same k.

    Bands that are degenerate have roots of their own, which rounding moves apart. Diagonalised one by one they
    would get states of the set that have nothing to do with each other.
    """
    pairs = KDTree(k).query_pairs(TOGETHER, output_type="ndarray") if len(k) else np.zeros((0, 2), int)
    if not len(pairs):
        return np.arange(len(k))
    graph = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(k), len(k)))
    _, number = csgraph.connected_components(graph, directed=False)
    return np.unique(number, return_index=True)[1][number]


class ShellStates:
    """All states of a shell: weights, velocities, and, when asked for, what costs more.

    Attributes:
        weights: (N,) W_i with Σ_i W_i F_i ≈ ∫(dk) δ(ε−ε_shell) F, 1/(eV Å^d).
        velocity: (N, 3) in eV Å.
        sheet: (N,) which closed piece of the surface, one band in one pocket, a state belongs to.
    """

    def __init__(self, surface: Surface, shell: Shell):
        self.surface, self.shell = surface, shell
        self.sheet = surface.pocket[shell.points] * surface.model.size + surface.band[shell.points]
        self.weights = surface.level_weight[shell.points]
        self.velocity = surface.velocity[shell.points]

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def model(self) -> BlochModel:
        """The surface's."""
        return self.surface.model

    @property
    def energy(self) -> float:
        """Of the shell, eV."""
        return self.shell.energy

    @cached_property
    def k(self) -> np.ndarray:
        """Cartesian k (N, 3) in Å⁻¹."""
        return self.surface.k[self.shell.points] @ np.asarray(self.surface.model.basis)

    @cached_property
    def bloch(self) -> tuple[np.ndarray, np.ndarray]:
        """|u⟩ (N, n) and the covariant derivative |D_a u⟩ (N, 3, n) in Å; those of a degenerate set are orthogonal."""
        part, numbers = self.shell.points, 4 * len(self) * self.surface.model.size
        demand(2 * 16 * numbers, f"the states of {len(self)} points", "raise it, or use fewer points (a smaller n)")
        k = self.surface.k[part][first_together(self.surface.k[part])]
        geometry = point_geometry(self.surface.model, k, self.surface.band[part], STATES)
        return geometry["state"], geometry["covariant_derivative"]

    @cached_property
    def state(self) -> State:
        """The states as one pytree with NumPy leaves (N, ...): on a device every shape would compile."""
        surface, part = self.surface, self.shell.points
        columns = {
            "k": self.k,
            "energy": surface.energy[part],
            "velocity": self.velocity,
            "berry_curvature": surface.berry_curvature[part],
            "orbital_moment": surface.orbital_moment[part],
            "density_of_states": np.full(len(self), np.sum(self.weights)),
        }
        return State(**columns)  # pyright: ignore[reportArgumentType]


class TracedStates:
    """The states of one shell of a :class:`TracedSurface`, as :class:`States`.

    Args:
        surface: traced.
        shell: one of its shells, leaves (M, ...).
    """

    def __init__(self, surface: TracedSurface, shell: TracedShells):
        self.model, self.shell = surface.model, shell
        self.weights, self.sheet, self.energy = shell.weights, shell.sheet, shell.energy
        self.velocity, self.k, self.bloch = shell.geometry.velocity, shell.k, shell.bloch

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def state(self) -> State:
        """The states as one pytree with leaves (M, ...)."""
        geometry = self.shell.geometry
        return State(
            k=self.k,
            energy=geometry.energy,
            velocity=geometry.velocity,
            berry_curvature=geometry.berry_curvature,
            orbital_moment=geometry.orbital_moment,
            density_of_states=jnp.full(len(self), jnp.sum(self.weights)),
        )


States = ShellStates | TracedStates
"""The states of one shell as scattering sees them."""
