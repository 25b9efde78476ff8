"""g of small shells to the order of the intrinsic part, from matrices: what the tests of its parts are made of."""

import jax.numpy as jnp
import numpy as np

import jaxkin as jk
from jaxkin.disorder.states import ShellStates
from jaxkin.response.observables import LEVI_CIVITA, gyrotropic
from jaxkin.surface.green import local_green_function

HBAR = jk.units.HBAR


class Dense:
    """The kernels of a shell as matrices √W w √W, energies for rates, e = ħ = 1.

    Amplitudes and w⁽²⁾ are those of the package, applied to single states; everything else is made of matrices.
    """

    def __init__(self, surface, disorder):
        shell = surface.shells[0]
        scatterer = disorder.on(surface).completed(surface).at(shell.energy)
        states = ShellStates(surface, True, scatterer.orbitals).of(shell)
        self.surface, self.scatterer, self.two = surface, scatterer, scatterer.two_impurities(states)
        self.w, self.v, self.root = states.weights, states.velocity, np.sqrt(states.weights)[:, None]
        self.null = self.root / np.linalg.norm(self.root)
        u, du = states.bloch
        self.one, self.d, self.local = 0.0, np.zeros((3, len(u), len(u))), []
        for kind, centres in zip(self.two.kinds, scatterer.centres, strict=True):
            n, t = kind.amplitude[0], np.asarray(kind.amplitude[1])
            phase, chosen = np.asarray(kind.phase), list(kind.orbitals)
            local = phase * u[:, chosen]
            slope = phase[:, None] * du[:, :, chosen] + 1j * np.asarray(centres).T * local[:, None]
            x = local.conj() @ t @ local.T
            self.one = self.one + self.scaled(2 * np.pi * n * np.abs(x) ** 2)
            for c in range(3):  # Eq. (36): −2πn Im{[⟨Dp|T|p'⟩ + ⟨p|T|Dp'⟩]⟨p|T|p'⟩*}
                z = slope[:, c].conj() @ t @ local.T + local.conj() @ t @ slope[:, c].T
                self.d[c] += self.scaled(-2 * np.pi * n * np.imag(z * x.conj()))
            self.local.append(local)
        delta = jnp.eye(len(self.w)) / self.w
        self.two_impurities = self.scaled(HBAR * np.asarray(self.two.apply(delta)[0]))
        moment = states.orbital_moment / jk.units.MAGNETON_PER_EV_A2  # eV Å², over e/ħ
        self.moment, self.start = self.project(self.root * moment), self.project(self.root * self.v)

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

    @property
    def delay(self):
        """h and h' of the density that electrons have while they are scattered: Σ W (1 + h) f is conserved.

        h_p = −n Re⟨p|T† ∂_εG T|p⟩; h' with T and T† exchanged, which weighs what is solved for from the left. The
        component of R|v⟩ along the constant is fixed by zero density, so with skew scattering by −∫h R|v⟩/∫1.
        """
        model, level, step = self.surface.model, float(self.surface.shells[0].energy), 1e-3
        there, back = np.zeros(len(self.w)), np.zeros(len(self.w))
        for kind, site, local in zip(self.two.kinds, self.scatterer.sites, self.local, strict=True):
            up, down = (
                local_green_function(model, [level + e], site.orbitals, site.cells, rtol=1e-7).values[0]
                for e in (step, -step)
            )
            slope, t = (up - down) / (2 * step * float(model.state_volume)), np.asarray(kind.amplitude.matrix)
            for found, amplitude in ((there, t), (back, t.conj().T)):
                form = amplitude.conj().T @ slope @ amplitude
                found -= kind.amplitude.density * np.real(np.einsum("na,ab,nb->n", local.conj(), form, local))
        return there, back


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
        "gaussian_skew": skew(dense.two_impurities),
        "skew": skew(dense.one),
    }
    return {name: 2 * np.pi * part for name, part in parts.items()}


def complete(dense):
    """(A, B, violation of Onsager's relation): g = A ∝ n⁻² and B ∝ n⁻¹, to all orders in w^A.

    σ(q) = ⟨v + D|[L + L⁽²⁾ + iq·(v + D)]⁻¹|v + D⟩ with the whole D and the moments beside it; the component of the
    solutions along the constant is that of zero density, which the delay is a part of.
    """
    r, v, start = dense.resolvent(dense.one), dense.v, dense.start
    loss = dense.loss(dense.two_impurities)
    right, left = r @ start, r.T @ start
    jump = dense.project(np.stack([d @ dense.root[:, 0] for d in dense.d], axis=1))
    back = dense.project(np.stack([d.T @ dense.root[:, 0] for d in dense.d], axis=1))
    more, other = r @ (jump - loss @ right), r.T @ (back - loss.T @ left)
    h, h_left = (np.asarray(part)[:, None] * dense.root for part in dense.delay)
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


def on_shell_pairs(surface, potential, density, order):
    """w⁽²⁾ of a potential of finite range from sums over all bands, pair by pair, (M, M) in 1/(eV ps Å^-d).

    Args:
        surface: of one shell.
        potential: (k, k') → the diagonal of ⟨α k|V|α k'⟩ over the orbitals, (n,) in eV Å^d.
        density: impurities per Å^d.
        order: ``"born"`` or ``"tmatrix"``.
    """
    model, k, w = surface.model, np.asarray(surface.k), np.asarray(surface.level_weight)
    x = np.asarray(model.cartesian(k))
    energies, u = np.linalg.eigh(np.stack([np.asarray(model.hamiltonian(one)) for one in k]))
    level, count = float(surface.shells[0].energy), len(k)
    own = np.argmin(np.abs(energies - level), axis=1)
    n = energies.shape[1]
    v = np.array([[potential(p, q) for q in x] for p in x])  # i j α
    v = np.einsum("iam,ija,jal->imjl", u.conj(), v, u)  # all bands with all
    here = np.arange(count)
    shell = v[here, own][:, here, own]
    t, turn, back = shell, np.eye(count), np.eye(count)
    if order == "tmatrix":
        t = np.linalg.solve(np.eye(count) + 1j * np.pi * shell * w, shell)
        turn = turn - 1j * np.pi * w[:, None] * t
        back = back - 1j * np.pi * t * w
    bra = np.einsum("imj,jl->iml", v[:, :, here, own], turn)  # ⟨i m|T|j⟩
    ket = np.einsum("ij,jlm->ilm", back, v[here, own])  # ⟨i|T|l m⟩
    total = np.zeros((count, count))
    sigma = -1j * np.pi * density * np.einsum("ims,s,is->im", bra, w, t.conj())
    for i in range(count):
        for j in range(count):
            value = 0.0
            for m in range(n):
                if m != own[j]:
                    value += 2 * np.real(np.conj(t[i, j]) * ket[i, j, m] * sigma[j, m]) / (level - energies[j, m])
                if m != own[i]:
                    changed = np.conj(sigma[i, m]) * bra[i, m, j] / (level - energies[i, m])
                    value -= 2 * np.real(np.conj(t[i, j]) * changed)
                for s in range(count):
                    if m != own[s]:
                        step = ket[i, s, m] * bra[s, m, j] * np.conj(t[s, j]) * np.conj(t[i, s])
                        value -= 2 * np.pi * density * w[s] * np.imag(step) / (level - energies[s, m])
            total[i, j] = density * 2 * np.pi * value
    return total / HBAR
