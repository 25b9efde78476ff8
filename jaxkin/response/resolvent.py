"""Resolvents (ω + iL)⁻¹ of the collision operator for all frequencies from one Krylov space.

A shift leaves a Krylov space as it is, so the space that is grown for ω = 0 serves every frequency: a
thousand cost little more than one, where Woodbury's formula would factorise a d²×d² matrix for each
(docs/method.md). In the scaled functions √W x the operator L is symmetric. A function that is constant on
all sheets that the impurities couple is its null vector on both sides (as it is of A, by flux conservation):
the space is kept orthogonal to it, nothing is regularised. Where rates spread so widely that the space grows
without end, a small problem is solved densely.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import block_diag
from scipy.sparse import csgraph

from jaxkin.disorder.collisions import Collisions
from jaxkin.errors import JaxkinError
from jaxkin.memory import limit

TOLERANCE = 1e-11
"""Residual of the solutions relative to their right-hand side."""
MOST = 600
"""Columns of the Krylov space ..."""
DENSE = 4000
"""... beyond which a problem of at most so many unknowns is solved densely, if the memory budget allows both."""
COPIES = 5
"""Of a basis that exist at once: itself, its image, what is outside, and results on their way."""
DECOUPLED = 1e-12
"""Sheets with a smaller rate between them, relative to their own, are taken as not coupled."""
DEPENDENT = 1e-13
"""A new direction shorter than this part of what it was made from is rounding."""


@dataclass(frozen=True)
class Resolved:
    """x(ω) = Q c(ω), the solutions of (ω + iM) x = b for the m columns of b at all frequencies.

    Attributes:
        basis: Q, (rows, k), orthonormal in the scaled functions.
        coefficients: c, (frequency, k, m).
        residual: largest ‖(ω + iM)x − b‖/‖b‖.
    """

    basis: np.ndarray
    coefficients: np.ndarray
    residual: float

    def half(self, number: int) -> Resolved:
        """The first or second half of the rows, for an operator on pairs of functions."""
        rows = len(self.basis) // 2
        return Resolved(self.basis[number * rows : (number + 1) * rows], self.coefficients, self.residual)


class Resolvent:
    """Solves with L, with L ∓ A, and for the first order in A, on one shell.

    Args:
        collisions: the shell; its weights must be positive.
        omega: angular frequencies in 1/ps, (frequency,).

    Raises:
        JaxkinError: weights that are not positive.
    """

    def __init__(self, collisions: Collisions, omega: np.ndarray):
        if np.any(collisions.weights <= 0):
            raise JaxkinError(
                "solver='exact' needs positive weights of the points: use Lines, or Grid with smearing='gauss'."
            )
        self.collisions, self.omega = collisions, omega
        self.root = np.sqrt(collisions.weights)[:, None]
        sheets = self.root * (collisions.sheet[:, None] == np.unique(collisions.sheet))
        self._sheets = sheets / np.linalg.norm(sheets, axis=0)
        self._null = self._constants()

    def _constants(self) -> np.ndarray:
        """Orthonormal null vectors of L: constants on the sheets that scattering connects, (N, parts)."""
        size = np.sum(self.root * self._sheets, axis=0)  # √∫δ of each sheet
        coupling = self._sheets.T @ (self.root * self.collisions.symmetric(self._sheets / self.root))
        strength = np.abs(np.diag(coupling))
        coupled = np.abs(coupling) > DECOUPLED * max(float(strength.max()), 1e-300)
        count, part = csgraph.connected_components(coupled, directed=False)
        null = self._sheets @ (size[:, None] * (part[:, None] == np.arange(count)))
        return null / np.linalg.norm(null, axis=0)

    def scaled(self, x: np.ndarray) -> np.ndarray:
        """√W x without its null part, for which the exact integral ∫(dk) δ x is zero."""
        return self._project(self.root * x)

    def velocity(self) -> np.ndarray:
        """√W v. ∫(dk) δ(ε−μ) ∂ε/∂k vanishes on every closed sheet, however weakly scattering connects it."""
        v = self.root * self.collisions.velocity
        return v - self._sheets @ (self._sheets.T @ v)

    def even(self, start: np.ndarray) -> Resolved:
        """R x = (ω + iL)⁻¹ x of a scaled x."""
        return self._solve(self._loss, start)

    def skewed(self, start: np.ndarray, sign: int) -> Resolved:
        """(ω + iL − i sign A)⁻¹ x of a scaled x: R̃ for sign = 1, its transpose for −1."""
        return self._solve(lambda y: self._loss(y) - sign * self._skew(y), start)

    def first_order(self, start: np.ndarray) -> tuple[Resolved, Resolved]:
        """R x and R iA R x of a scaled x, from L and −A on pairs of functions."""
        n = len(start)

        def apply(pair: np.ndarray) -> np.ndarray:
            top, bottom = pair[:n], pair[n:]
            both = self._loss(np.concatenate([top, bottom], axis=1))
            m = top.shape[1]
            return np.concatenate([both[:, :m], both[:, m:] - self._skew(top)])

        solved = self._solve(apply, np.concatenate([start, np.zeros_like(start)]))
        return solved.half(0), solved.half(1)

    def bracket(self, left: Resolved, weight: np.ndarray, right: Resolved) -> np.ndarray:
        """Σ_i weight_i x_c(i) y_d(i) of two solutions at all frequencies, (frequency, c, d)."""
        return bracket(left, weight / self.collisions.weights, right)

    def project(self, functions: np.ndarray, right: Resolved) -> np.ndarray:
        """Σ_i f_a(i) y_d(i) of functions (N, a) and a solution, (frequency, a, d)."""
        return project(functions / self.root, right)

    def _project(self, x: np.ndarray) -> np.ndarray:
        return x - self._null @ (self._null.T @ x)

    def _loss(self, x: np.ndarray) -> np.ndarray:
        gain = self.root * self.collisions.symmetric(x / self.root)
        return self._project(self.collisions.rate[:, None] * x - gain)

    def _skew(self, x: np.ndarray) -> np.ndarray:
        return self._project(self.root * self.collisions.antisymmetric(x / self.root))

    def _solve(self, apply: Callable[[np.ndarray], np.ndarray], start: np.ndarray) -> Resolved:
        size = np.linalg.norm(start, axis=0)
        block = _orthonormal(start, np.zeros((len(start), 0)), float(size.max(initial=0.0)))
        if not block.shape[1]:
            return Resolved(block, np.zeros((len(self.omega), 0, start.shape[1]), complex), 0.0)
        basis, image = block, apply(block)
        hardest = np.unique([np.abs(self.omega).min(), np.abs(self.omega).max()])
        room = int(limit() // (COPIES * start[:, :1].nbytes))  # columns
        while True:
            residual = _galerkin(basis, image, start, size, hardest)[1]
            if residual <= TOLERANCE:
                break
            if basis.shape[1] >= min(MOST, room):
                if len(start) <= min(DENSE, room):
                    basis = self._everything(len(start))
                    image = apply(basis)
                break
            last = image[:, -block.shape[1] :]
            block = _orthonormal(last, basis, float(np.linalg.norm(last, axis=0).max()))
            if not block.shape[1]:
                break
            basis, image = np.concatenate([basis, block], axis=1), np.concatenate([image, apply(block)], axis=1)
        return Resolved(basis, *_galerkin(basis, image, start, size, self.omega))

    def _everything(self, rows: int) -> np.ndarray:
        """An orthonormal basis of all scaled functions (or pairs of them) but the null ones."""
        null = self._null if rows == len(self._null) else np.asarray(block_diag(self._null, self._null))
        return np.linalg.qr(null, mode="complete")[0][:, null.shape[1] :]


def _orthonormal(new: np.ndarray, basis: np.ndarray, scale: float) -> np.ndarray:
    """Orthonormal directions of ``new`` beyond ``basis`` that are not rounding of vectors of length ``scale``."""
    for _ in range(2):
        new = new - basis @ (basis.T @ new)
    vectors, values, _ = np.linalg.svd(new, full_matrices=False)
    kept = vectors[:, values > DEPENDENT * scale]
    kept = kept - basis @ (basis.T @ kept)
    return np.linalg.qr(kept)[0] if kept.shape[1] else kept


def _galerkin(basis, image, start, size, omega) -> tuple[np.ndarray, float]:
    """Coefficients of the projected solutions (frequency, k, m), and the largest relative residual."""
    projected, right = basis.T @ image, basis.T @ start
    outside = image - basis @ projected
    gram = outside.T @ outside
    coefficients = np.empty((len(omega), *right.shape), complex)
    for f, w in enumerate(omega):
        coefficients[f] = np.linalg.solve(w * np.eye(len(projected)) + 1j * projected, right)
    squares = np.einsum("fkm,kl,flm->fm", coefficients.conj(), gram, coefficients, optimize=True).real
    present = size > 0
    residual = np.sqrt(np.maximum(squares[:, present], 0)) / size[present]
    return coefficients, float(residual.max(initial=0.0))


def bracket(left: Resolved, weight: np.ndarray, right: Resolved) -> np.ndarray:
    """Σ_i weight_i x_c(i) y_d(i) of two scaled solutions at all frequencies, (frequency, c, d)."""
    middle = left.basis.T @ (weight[:, None] * right.basis)
    return np.swapaxes(left.coefficients, 1, 2) @ (middle @ right.coefficients)


def project(functions: np.ndarray, right: Resolved) -> np.ndarray:
    """Σ_i f_a(i) y_d(i) of functions (N, a) and a scaled solution, (frequency, a, d)."""
    return (functions.T @ right.basis) @ right.coefficients
