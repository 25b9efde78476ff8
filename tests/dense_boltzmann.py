"""g of small shells to the order of the intrinsic part, from matrices: what the tests of its parts are made of."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxkin as jk
from jaxkin.disorder.gaussian_skew import PairGreen, TwoImpurities, reduced_resolvent
from jaxkin.disorder.nonlocal_collisions import Amplitude, OrbitalStates, displaced
from jaxkin.disorder.point import local_states
from jaxkin.disorder.states import ShellStates
from jaxkin.quantum.scatterers import scatterers
from jaxkin.response.observables import LEVI_CIVITA, gyrotropic
from jaxkin.surface.pair_green import pair_green
from jaxkin.surface.sea import local_green_function

HBAR = jk.units.HBAR


class OneReplica:
    """One shift of the points of a surface as states."""

    def __init__(self, surface, orbitals, cells):
        states = ShellStates(surface, bloch=True).of(surface.shells[0])
        centres = np.asarray(surface.model.centres)[list(orbitals)]
        if surface.model.periodic:
            centres = centres + np.asarray(cells) @ np.asarray(surface.model.lattice)
        self.weights, self.velocity = states.weights, states.velocity
        self.moment = states.orbital_moment / jk.units.MAGNETON_PER_EV_A2  # eV Å², over e/ħ
        self.orbital = OrbitalStates(jnp.asarray(self.weights), *local_states(states, orbitals, centres))
        h = np.asarray(jax.vmap(surface.model.hamiltonian)(surface.k[surface.shells[0].points]))
        energies, vectors = np.linalg.eigh(h)
        phase = np.exp(1j * states.k @ centres.T)
        level = surface.shells[0].energy
        self.reduced = reduced_resolvent(energies, phase[:, :, None] * vectors[:, list(orbitals)], level)


class Dense:
    """The kernels of a shell as matrices √W w √W, energies for rates, e = ħ = 1."""

    def __init__(self, states, impurities, two):
        self.w, self.v, self.root = states.weights, states.velocity, np.sqrt(states.weights)[:, None]
        self.null = self.root / np.linalg.norm(self.root)
        delta = jnp.eye(len(self.w)) / self.w
        amplitudes = [(n, states.orbital.local.conj() @ t @ states.orbital.local.T) for n, t in impurities]
        one = np.asarray(sum(2 * np.pi * n * jnp.abs(x) ** 2 for n, x in amplitudes))
        self.one, self.two = self.scaled(one), self.scaled(HBAR * np.asarray(two.apply(delta)[0]))
        moved = np.asarray(displaced(states.orbital, impurities, delta)[0])
        self.d = [self.scaled(moved[:, c]) for c in range(3)]
        self.moment = self.project(self.root * states.moment)
        self.start = self.project(self.root * self.v)

    def project(self, x):
        return x - self.null @ (self.null.T @ x)

    def scaled(self, kernel):
        """√W K √W of a kernel."""
        return self.root * kernel * self.root.T

    def loss(self, kernel):
        """Γ − w, with the Γ that the kernel's even part has."""
        even = 0.5 * (kernel + kernel.T)
        return np.diag((even @ self.root / self.root)[:, 0]) - kernel

    def resolvent(self, kernel):
        """L⁻¹ on functions of zero mean."""
        rate = float(np.mean(np.diag(self.loss(kernel))))
        return np.linalg.inv(self.loss(kernel) + rate * self.null @ self.null.T) - self.null @ self.null.T / rate


def even(kernel):
    return 0.5 * (kernel + kernel.T)


def odd(kernel):
    return 0.5 * (kernel - kernel.T)


def slopes(bracket):
    """−i × the bracket for each c: λ_abc."""
    return -1j * np.stack([bracket(c) for c in range(3)], axis=-1)


def mechanisms(dense):
    """g by mechanism in the lowest order of w^A, in units of e²/2πħ per volume."""
    r, v = dense.resolvent(even(dense.one)), dense.v
    x = r @ dense.start
    k = dense.moment.T @ x
    s = r @ dense.project(np.stack([odd(d) @ dense.root[:, 0] for d in dense.d], axis=1))

    def skew(kernel):
        """−i⟨v|R̃ v_c R̃|v⟩ in first order, L → L − kernel; from the left the kernel changes sign."""
        z = r @ odd(kernel) @ x
        return gyrotropic(slopes(lambda c: x.T @ (v[:, [c]] * z) - z.T @ (v[:, [c]] * x)))

    parts = {
        "intrinsic": -1j * (k - np.trace(k) * np.eye(3)),
        "side_jump": gyrotropic(slopes(lambda c: x.T @ (v[:, [c]] * s) - s.T @ (v[:, [c]] * x))),
        "nonlocal": gyrotropic(slopes(lambda c: x.T @ odd(dense.d[c]) @ x)),
        "gaussian_skew": skew(dense.two),
        "skew": skew(dense.one),
    }
    return {name: 2 * np.pi * part for name, part in parts.items()}


def complete(dense, two):
    """(A, B, violation of Onsager's relation): g = A ∝ n⁻² and B ∝ n⁻¹, to all orders in w^A.

    σ(q) = ⟨v + D|[L + L⁽²⁾ + iq·(v + D)]⁻¹|v + D⟩ with the whole D and the moments beside it; the component of the
    solutions along the constant is that of zero density, which the delay is a part of.
    """
    r, v, start = dense.resolvent(dense.one), dense.v, dense.start
    loss = dense.loss(dense.two)
    right, left = r @ start, r.T @ start
    jump = dense.project(np.stack([d @ dense.root[:, 0] for d in dense.d], axis=1))
    back = dense.project(np.stack([d.T @ dense.root[:, 0] for d in dense.d], axis=1))
    more, other = r @ (jump - loss @ right), r.T @ (back - loss.T @ left)
    h, h_left = (np.asarray(part)[:, None] * dense.root for part in two.delay)
    size = float(np.sum(dense.w))
    more = more - dense.root * (h.T @ right) / size
    other = other - dense.root * (h_left.T @ left) / size
    first = slopes(lambda c: left.T @ (v[:, [c]] * right))
    second = slopes(lambda c: left.T @ (v[:, [c]] * more) + other.T @ (v[:, [c]] * right) + left.T @ dense.d[c] @ right)
    # the moments in current and force: ε_acd m_d at the left, −ε_bcd m_d at the right
    m_right, m_left = dense.moment.T @ right, dense.moment.T @ left
    second = second - 1j * (
        np.einsum("acd,db->abc", LEVI_CIVITA, m_right) - np.einsum("bcd,da->abc", LEVI_CIVITA, m_left)
    )
    violation = np.abs(second + np.swapaxes(second, 0, 1)).max() / np.abs(second).max()
    return 2 * np.pi * gyrotropic(first), 2 * np.pi * gyrotropic(second), violation


def dense(surface, disorder, *, rtol=1e-4):
    """(Dense, TwoImpurities, the states) of point impurities on one shift of a surface."""
    model, level = surface.model, surface.shells[0].energy
    kinds = scatterers(model, disorder)
    cells = np.rint(kinds.positions - np.asarray(model.positions)[kinds.orbitals]).astype(int)
    volume, born = float(model.cell_volume), all(kind.born for kind in kinds.kinds)
    states = OneReplica(surface, kinds.orbitals, cells)
    g, green = np.zeros((len(cells),) * 2, complex), None
    if not born:
        g = local_green_function(model, [level], kinds.orbitals, cells, rtol=rtol).values[0]
        # the imaginary part from the same points as everything else
        g = 0.5 * (g + g.conj().T) - 1j * np.pi * volume * np.asarray(states.orbital.density)
        green = PairGreen(*map(jnp.asarray, pair_green(model, level, kinds.orbitals, cells, rtol=rtol)))
    impurities = []
    for kind in kinds.kinds:
        t = np.zeros_like(g)
        t[np.ix_(kind.place, kind.place)] = volume * kind.amplitude(g)
        impurities.append(Amplitude(kind.number / volume, jnp.asarray(t)))
    two = TwoImpurities(states.orbital, states.reduced, impurities, green)
    return Dense(states, impurities, two), two, states
