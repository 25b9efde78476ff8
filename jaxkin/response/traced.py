"""The parts of g and σ of a frozen surface, for any disorder, as JAX functions."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float
from numpy.typing import ArrayLike

from jaxkin.disorder import Disorder
from jaxkin.disorder.states import TracedStates, first_together
from jaxkin.errors import JaxkinError
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.response.boltzmann import (
    Brackets,
    SkewOrder,
    Solver,
    check_solver,
    exact_brackets,
    relaxed_brackets,
)
from jaxkin.response.dense import DenseResolvent
from jaxkin.surface.frozen import FrozenSurface, Nodes
from jaxkin.surface.frozen_green import FrozenGreen
from jaxkin.surface.traced import TracedShells, frozen_greens

Parts = dict[str, Complex[Array, "replicas frequency 3 3"]]


def traced_parts(
    frozen: FrozenSurface,
    disorder: Disorder,
    frequency: ArrayLike,
    solver: Solver,
    skew_order: SkewOrder,
    model: BlochModel | None,
    fermi_level: ArrayLike | None,
    temperature: ArrayLike | None,
) -> tuple[Parts, Parts]:
    """Parts of g and of σ, replica by replica, before the factors of the units.

    What the disorder decides on a surface, as which cells of the zone its Green function needs, is decided on the
    surface that was frozen; then :func:`jaxkin.response.boltzmann.shell_response`'s brackets are taken shell by
    shell, with the model, μ, T and the disorder's parameters as they are. Reverse mode computes each shell again.

    Raises:
        JaxkinError: a thermal lattice, whose shells are bins of energies; degenerate bands.
    """
    check_solver(solver, skew_order)
    if isinstance(frozen.points, Nodes):
        raise JaxkinError(
            "scattering on a thermal lattice is not differentiated: its shells are bins of energy that points enter "
            "and leave; sample the surface with Lines."
        )
    assert frozen.reference is not None
    surface = frozen.reference.surface
    if any(np.any(np.diff(np.sort(first_together(surface.k[shell.points]))) == 0) for shell in surface.shells):
        raise JaxkinError(
            "the bands of this surface are degenerate, and scattering between them is not differentiated: leave out "
            "the spin that nothing depends on, or use RelaxationTime."
        )
    with jax.ensure_compile_time_eval():  # nothing of this is traced
        disorder = disorder.frozen(surface)
        disorder.on(surface)  # the surface keeps the Green functions
        greens = frozen_greens(surface) | frozen.greens
    return _parts(
        frozen.anonymous,
        disorder,
        greens,
        2 * jnp.pi * jnp.atleast_1d(jnp.asarray(frequency, float)),
        frozen.model if model is None else model,
        jnp.asarray(frozen.fermi_level if fermi_level is None else fermi_level, float),
        jnp.asarray(frozen.checked(temperature), float),
        solver,
        skew_order,
    )


@eqx.filter_jit
def _parts(
    frozen: FrozenSurface,
    disorder: Disorder,
    greens: dict[tuple, FrozenGreen],
    omega: Float[Array, " frequency"],
    model: BlochModel,
    mu: Array,
    kelvin: Array,
    solver: Solver,
    skew_order: SkewOrder,
) -> tuple[Parts, Parts]:
    surface = frozen.traced(model, mu, kelvin, greens)
    scatterer = disorder.on(surface)  # pyright: ignore[reportArgumentType]
    sheets = frozen.sheets

    @jax.checkpoint
    def one(shell: TracedShells) -> Brackets:
        collisions = scatterer(TracedStates(surface, shell))
        moment = shell.geometry.orbital_moment
        if solver == "rta":
            return relaxed_brackets(collisions, shell.thermal, moment, omega)
        return exact_brackets(DenseResolvent(collisions, omega, sheets), shell.thermal, moment, skew_order)[0]

    return jax.tree.map(frozen.by_replica, tuple(jax.lax.map(one, surface.shells)))
