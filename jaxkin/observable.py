"""Observables: Hermitian operators on the orbitals whose mean value a field or a current changes."""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float
from numpy.typing import ArrayLike
from scipy import constants as si

from jaxkin import units
from jaxkin.brief import brief
from jaxkin.checks import numbers, shown
from jaxkin.errors import JaxkinError
from jaxkin.geometry import ELECTRON_G
from jaxkin.hamiltonian.bloch import BlochModel, KPoint, Matrix, VectorMatrix, jittable
from jaxkin.hamiltonian.tight_binding import TightBinding
from jaxkin.namespace import AnyArray

HERMITIAN = 1e-8
"""Relative violation of O = O† that is rounding."""
AXES = ("x", "y", "z")


class Observable(eqx.Module):
    """m Hermitian operators on the orbitals of a model: docs/observables.md, "Observables".

    Args:
        operators: in units of ``scale``, ⟨0α|O|0β⟩ within a cell, (n, n) or (m, n, n); in a crystal also ⟨0α|O|Rβ⟩ for
            the translations of the model, (R, n, n, m).
        names: of the m operators.
        unit: the SI unit of what ``scale`` times their values is.
        scale: SI value of one, in ``unit``.
        heat: see :meth:`heat_current`.

    Raises:
        JaxkinError: matrices that are not square, not Hermitian or not finite; names that are not as many.

    >>> import jaxkin as jk
    >>> model = jk.models.get("haldane")
    >>> Observable(np.diag([1.0, -1.0]), ["imbalance"])
    Observable(imbalance)
    """

    matrices: Complex[Array | np.ndarray, "..."] | None
    """None stands for ∂H/ħ∂k, which is made from the model."""
    names: tuple[str, ...] = eqx.field(static=True)
    unit: str = eqx.field(static=True, default="1")
    scale: float = eqx.field(static=True, default=1.0)
    heat: bool = eqx.field(static=True, default=False)
    """Whether each energy counts with ε − μ in eV."""

    def __init__(
        self,
        operators: ArrayLike | None,
        names: Sequence[str] | None = None,
        unit: str = "1",
        scale: float = 1.0,
        *,
        heat: bool = False,
    ):
        self.matrices = None if operators is None else _hermitian(operators)
        count = 3 if self.matrices is None else self.matrices.shape[_axis(self.matrices)]
        labels = [f"O{number}" for number in range(count)] if names is None else list(map(str, names))
        if len(labels) != count:
            raise JaxkinError(f"names={shown(names)} must be {count}, one for each operator.")
        self.names, self.unit, self.scale, self.heat = tuple(labels), unit, scale, heat

    @brief
    def __repr__(self) -> str:
        return f"Observable({', '.join(self.names)})"

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def spin_moment(cls, model: BlochModel, orbitals: Sequence[int] | None = None) -> Observable:
        """−½ g_s μ_B σ of electrons, (3,), of all orbitals or of some, ½(Pσ + σP) with their projector P.

        Args:
            model: with spin operators.
            orbitals: indices of those meant; None for all.

        Raises:
            JaxkinError: a model without spin operators, an orbital that it does not have.

        >>> import jaxkin as jk
        >>> sigma = [[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]]
        >>> model = jk.TightBinding([[1.0]], [[0]], [np.diag([-1.0, 1.0])], [[0.0], [0.0]], spin=sigma)
        >>> Observable.spin_moment(model)
        Observable(m_x, m_y, m_z)
        """
        spin = _spin(model)
        if orbitals is not None:
            chosen = projector(model, orbitals).diagonal()
            kept = 0.5 * (chosen[:, None] + chosen)  # ½(Pσ + σP)
            spin = spin * (kept if spin.ndim == 3 else kept[:, :, None])
        names = tuple(f"m_{axis}" for axis in AXES)
        return cls(-0.5 * ELECTRON_G * spin, names, "A m²", units.BOHR_MAGNETON)

    @classmethod
    def occupation(cls, model: BlochModel, groups: Sequence[Sequence[int]] | None = None) -> Observable:
        """Electrons on each group of orbitals, or on each orbital.

        Args:
            model: any.
            groups: orbital indices of each; None for one orbital each.

        Raises:
            JaxkinError: an orbital that the model does not have.

        >>> import jaxkin as jk
        >>> Observable.occupation(jk.models.get("haldane"))
        Observable(n_0, n_1)
        """
        chosen = [[orbital] for orbital in range(model.size)] if groups is None else groups
        names = ["n_" + ",".join(map(str, np.atleast_1d(group))) for group in chosen]
        return cls(np.stack([projector(model, group) for group in chosen]), names)

    @classmethod
    def torque(cls, model: BlochModel, exchange: ArrayLike) -> Observable:
        """dS/dt = (1/iħ)[S, H_xc] of S = ½ħσ in eV, (3,): what the exchange field H_xc does to the electrons' spin.

        Minus that acts on the magnetization.

        Args:
            model: with spin operators within a cell.
            exchange: H_xc in eV, Hermitian (n, n).

        Raises:
            JaxkinError: a model without spin operators, or with such between cells; another shape.

        >>> import jaxkin as jk
        >>> sigma = [[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]]
        >>> model = jk.TightBinding([[1.0]], [[0]], [np.diag([-1.0, 1.0])], [[0.0], [0.0]], spin=sigma)
        >>> torque = Observable.torque(model, np.diag([-0.1, 0.1]))  # of an exchange field along z
        >>> complex(torque.matrices[0][0, 1])  # t_x = 0.1 eV σ_y
        -0.1j
        """
        spin, field = _spin(model), numbers("exchange", exchange, "a Hermitian matrix in eV", complex)
        if spin.ndim == 4:
            raise JaxkinError("torque needs spin operators within a cell, (3, n, n): those between cells are left out.")
        if field.shape != spin.shape[1:]:
            raise JaxkinError(f"exchange has shape {field.shape}; it must be {spin.shape[1:]}.")
        torque = -0.5j * (spin @ field - field @ spin)
        return cls(torque, tuple(f"t_{axis}" for axis in AXES), "J", si.elementary_charge)

    @classmethod
    def current(cls) -> Observable:
        """The current −|e| ∂H/ħ∂k, (3,): its response to a field is the conductivity.

        >>> Observable.current()
        Observable(j_x, j_y, j_z)
        """
        return cls(None, tuple(f"j_{axis}" for axis in AXES), "A m", -si.elementary_charge * units.VELOCITY)

    @classmethod
    def heat_current(cls) -> Observable:
        """The transport current of heat, (ε−μ) ∂H/ħ∂k at each energy, (3,): that of magnetization is taken away.

        With elastic scattering it holds in every mechanism (L. Smrčka, P. Středa, J. Phys. C 10, 2153 (1977)). To −∇T
        it answers with κ_ab in W/m² per K/m of a sample in which E = 0; of one without current it is κ − Tασ⁻¹α.

        >>> Observable.heat_current()
        Observable(q_x, q_y, q_z)
        """
        names = tuple(f"q_{axis}" for axis in AXES)
        return cls(None, names, "W m", si.elementary_charge * units.VELOCITY, heat=True)

    def triples(self) -> list[Observable]:
        """Three at a time, the last filled up with zeros."""
        if self.matrices is None:
            return [self]
        axis, parts = _axis(self.matrices), []
        for start in range(0, len(self), 3):
            part = np.take(np.asarray(self.matrices), range(start, min(start + 3, len(self))), axis=axis)
            width = [(0, 0)] * part.ndim
            width[axis] = (0, 3 - part.shape[axis])
            parts.append(Observable(np.pad(part, width), unit=self.unit, scale=self.scale))
        return parts

    def at(self, model: BlochModel, k: KPoint) -> VectorMatrix:
        """O(k) on the periodic parts |u⟩ of Bloch states, whose phases hold the orbitals' positions, (m, n, n).

        Args:
            model: whose orbitals these are.
            k: model coordinates, (d,).
        """
        if self.matrices is None:
            return model.derivative(k)
        phase = jnp.exp(1j * (jnp.asarray(model.centres) @ (jnp.asarray(k, float) @ model.basis)))
        return phase.conj()[:, None] * summed(model, self.matrices, k) * phase

    def checked(self, model: BlochModel) -> Observable:
        """Itself.

        Raises:
            JaxkinError: operators for other orbitals or translations than the model's.
        """
        if self.matrices is None:
            return self
        n = self.matrices.shape[1]
        if n != model.size:
            raise JaxkinError(f"the observable acts on {n} orbitals, the model has {model.size}.")
        if self.matrices.ndim == 4 and not (
            isinstance(model, TightBinding) and len(self.matrices) == len(model.translations)
        ):
            raise JaxkinError("operators (R, n, n, m) need one matrix for each translation of a tight-binding model.")
        return self


class Coupled(BlochModel):
    """A model whose H is differentiated by fields that couple to three operators, H + λ·O, in place of k.

    So its "velocity" is ⟨u|O_a|u⟩, and its |D_a u⟩ = Σ_m |m⟩⟨m|O_a|u⟩/(ε − ε_m) what the field mixes in.
    """

    model: BlochModel
    observable: Observable

    @property
    def size(self):
        return self.model.size

    def packed(self) -> Coupled:
        return Coupled(self.model.packed(), self.observable)

    @jittable
    def hamiltonian(self, k: KPoint) -> Matrix:
        return self.model.hamiltonian(k)

    @jittable
    def hamiltonian_and_derivative(self, k: KPoint) -> tuple[Matrix, VectorMatrix]:
        return self.model.hamiltonian(k), self.observable.at(self.model, k)


def projector(model: BlochModel, orbitals: Sequence[int]) -> Float[np.ndarray, "n n"]:
    """On some of the orbitals.

    Raises:
        JaxkinError: an orbital that the model does not have.
    """
    chosen = np.atleast_1d(numbers("orbitals", orbitals, "orbital indices", int))
    wrong = [m for m in chosen if not 0 <= m < model.size]
    if wrong:
        raise JaxkinError(f"orbital {wrong[0]} is outside 0..{model.size - 1} of this model.")
    inside = np.zeros(model.size)
    inside[chosen] = 1.0
    return np.diag(inside)


def summed(model: BlochModel, matrices: AnyArray, k: KPoint) -> Complex[Array, "m n n"]:
    """Σ_R e^{ik·R} O_R at real or complex k, analytic in k."""
    if matrices.ndim == 3:
        return jnp.asarray(matrices)
    assert isinstance(model, TightBinding)
    return jnp.einsum("r,rabm->mab", jnp.exp(2j * jnp.pi * (model.translations @ k)), matrices)


def _hermitian(operators: ArrayLike) -> np.ndarray:
    given = numbers("operators", operators, "Hermitian matrices of finite numbers", complex)
    found = given[None] if given.ndim == 2 else given
    if found.ndim not in (3, 4) or found.shape[1] != found.shape[2] or not found.size:
        raise JaxkinError(f"operators have shape {given.shape}; they must be (n, n), (m, n, n) or (R, n, n, m).")
    asymmetry = np.abs(found - found.conj().swapaxes(1, 2)).max() if found.ndim == 3 else 0.0
    if asymmetry > HERMITIAN * np.abs(found).max():
        raise JaxkinError("operators must be Hermitian.")
    return found


def _axis(matrices: Complex[Array | np.ndarray, "..."]) -> int:
    """That counts the operators."""
    return 0 if matrices.ndim == 3 else 3


def _spin(model: BlochModel) -> np.ndarray:
    if model.spin is None:
        raise JaxkinError("this model has no spin operators: give `spin`, or read it with a `.spn` file.")
    return np.asarray(model.spin)
