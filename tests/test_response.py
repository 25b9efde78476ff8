"""Responses: identities, controls that must vanish, symmetry, units, frequencies."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from kernels import helical_shift, helical_skew, isotropic
from scipy import constants as si

import jaxkin as jk
from jaxkin import units
from jaxkin.geometry import ELECTRON_G
from jaxkin.response import observables

DISORDER = jk.RelaxationTime(tau=0.5, tau_skew=30.0, side_jump=0.7)
TENSORS = hnp.arrays(float, (3, 3), elements=st.floats(-1, 1))

# name, parameters, Fermi level
CHIRAL = [
    ("kramers-weyl-d4", {}, -1.5),
    ("kramers-weyl-d3", {}, -1.3),
    ("kramers-weyl-o", {}, -1.6),
    ("haldane-chiral", {}, -2.2),
]


def response(name, parameters, level, n=14, replicas=6, disorder=DISORDER, frequency=(0.0,)):
    model = jk.models.get(name, **parameters)
    surface = jk.fermi_surface(model, level, sampler=jk.Lines(n), replicas=replicas)
    return jk.gyrotropic_response(surface, disorder, frequency)


class TestIdentities:
    @given(TENSORS)
    def test_lambda_and_back(self, g):
        """(71) undoes (70), and λ_abc = −λ_bac (Onsager)."""
        lam = observables.spatial_dispersion(g)
        np.testing.assert_allclose(observables.gyrotropic(lam), g, rtol=0, atol=1e-14)
        np.testing.assert_array_equal(lam, -np.swapaxes(lam, 0, 1))

    @given(TENSORS)
    def test_susceptibility_trace(self, g):
        """(86): Tr χ = −½ Tr g."""
        assert np.trace(observables.magnetoelectric(g)) == pytest.approx(-0.5 * np.trace(g), abs=1e-14)

    @given(TENSORS, st.floats(0.1, 10))
    def test_rotation_depends_on_the_axis_only(self, g, length):
        f = np.array([1.0])
        rho = observables.rotatory_power(g[None], f, (0, 0, length))
        np.testing.assert_allclose(
            rho, 0.5 * units.VACUUM_PERMEABILITY * 2e12 * np.pi * g[2, 2], rtol=1e-12, atol=1e-18
        )

    def test_magnetization_formula(self):
        """(87) directly: M = Σ W m_tot eE·v f⁰'/(iω − 1/τ), against −iχE."""
        result = response(
            "kramers-weyl-d4", {}, -1.5, n=8, replicas=2, disorder=jk.RelaxationTime(0.5), frequency=[0.4]
        )
        surface, tau, omega = result.surface, 0.5e-12, 2 * np.pi * 0.4e12
        field = np.array([3.0, -2.0, 5.0])
        charge = -units.ELEMENTARY_CHARGE
        force = charge * (surface.velocity * units.VELOCITY) @ field
        weights = surface.weight * 1e30 / units.ELEMENTARY_CHARGE / surface.replicas
        moment = surface.orbital_moment * units.BOHR_MAGNETON
        exact = -(weights * force) @ moment / (1j * omega - 1 / tau)
        np.testing.assert_allclose(result.magnetization(field)["total"].mean[0], exact, rtol=1e-10)


class TestFixedCurrent:
    @pytest.mark.parametrize(("kelvin", "solver"), [(0.0, "rta"), (0.0, "exact"), (300.0, "rta")])
    def test_no_error_is_left_where_moment_and_velocity_are_parallel(self, kelvin, solver):
        """Helical metal: M = −μ_int j/|e|v at T = 0, whatever τ, replica by replica."""
        moment = 1.3
        model = jk.models.get("helical-isotropic", moment=moment)
        surface = jk.fermi_surface(model, 0.5, kelvin, sampler=jk.Lines(8), replicas=4)
        result = jk.gyrotropic_response(surface, jk.RelaxationTime(0.5), [0.0, 0.7], solver)
        made = result.magnetization(current=[0, 0, 2e6])["total"]
        static = jk.fermi_surface(model, 0.5, sampler=jk.Lines(4), replicas=2)
        speed = np.linalg.norm(static.velocity[0]) * units.VELOCITY
        exact = -moment * units.BOHR_MAGNETON * 2e6 / (units.ELEMENTARY_CHARGE * speed)
        assert np.all(np.abs(made.mean[:, 2] / exact - 1) < (1e-2 if kelvin else 1e-9))
        field = result.magnetization([0, 0, 1e4])["total"]
        errors = [np.abs(one.stderr[0, 2] / one.mean[0, 2]) for one in (made, field)]
        assert errors[0] < (0.1 * errors[1] if kelvin else 1e-9)

    def test_of_one_replica_it_is_the_magnetization_of_the_field(self):
        result = response("haldane-chiral", {}, -2.2, n=8, replicas=1, frequency=[0.0, 0.4])
        current = np.array([3.0, -2.0, 0.0])
        made = result.magnetization(current=current)["total"].mean
        field = result.electric_field(current)
        np.testing.assert_allclose((result.conductivity.sigma["total"].mean @ field.mean[..., None])[..., 0],
                                   np.broadcast_to(current, (2, 3)), rtol=1e-10, atol=1e-10)  # fmt: skip
        chi = result.chi["total"].mean
        np.testing.assert_allclose(made, -1j * (chi @ field.mean[..., None])[..., 0], rtol=1e-10, atol=1e-25)

    def test_what_cannot_be_is_refused(self):
        result = response("haldane", {}, -2.2, n=4, replicas=2)
        for call in (lambda: result.magnetization(), lambda: result.magnetization([0, 0, 1], current=[0, 0, 1])):
            with pytest.raises(jk.JaxkinError, match="either a field in V/m or current="):
                call()
        with pytest.raises(jk.JaxkinError, match="has 2 dimensions, the rest must be 0"):
            result.magnetization(current=[0, 0, 1])
        with pytest.raises(jk.JaxkinError, match="must be 'orbital' or 'spin'"):
            result.of_moment("total")


class TestSpin:
    @pytest.mark.parametrize("solver", ["rta", "exact"])
    def test_weyl_node(self, solver):
        """⟨σ⟩ = k/|k| on the upper cone of v k·σ: M_spin = ½ g_s μ_B j/|e|v, the orbital part as without spin."""
        sigma, speed = jk.models.pauli.SPIN, 1.7
        box = ((-1.0, 1.0),) * 3

        def hamiltonian(k):
            return speed * jnp.einsum("a,aij->ij", k, sigma)

        found = []
        for spin in (sigma, None):
            surface = jk.fermi_surface(jk.KdotP(hamiltonian, box, spin=spin), 0.5, sampler=jk.Lines(8), replicas=4)
            found.append(jk.gyrotropic_response(surface, jk.RelaxationTime(0.5), [0.0], solver))
        current = [0, 0, 2e6]
        made = found[0].of_moment("spin").magnetization(current=current)["total"]
        v = speed * units.VELOCITY
        exact = 0.5 * ELECTRON_G * units.BOHR_MAGNETON * 2e6 / (units.ELEMENTARY_CHARGE * v)
        assert abs(made.mean[0, 2] / exact - 1) < 1e-9
        orbital = found[0].of_moment("orbital")
        np.testing.assert_allclose(orbital.g["total"].mean, found[1].g["intrinsic"].mean, rtol=1e-9, atol=1e-22)
        assert not found[1].of_moment("spin").g["total"].mean.any()
        parts = [found[0].of_moment(which).g["intrinsic"].samples for which in ("orbital", "spin")]
        np.testing.assert_allclose(sum(parts), found[0].g["intrinsic"].samples, rtol=1e-9, atol=1e-22)

    @pytest.mark.parametrize("sampler", [jk.Grid(12), jk.Lines(4)])
    def test_the_sum_over_the_points(self, sampler):
        model = jk.models.get("tellurium", spin=True)
        surface = jk.fermi_surface(model, -0.02, 150.0, sampler, replicas=2)
        result = jk.gyrotropic_response(surface, jk.RelaxationTime(0.5)).of_moment("spin")
        moments = surface.integrate(surface.spin_moment[:, :, None] * surface.velocity[:, None, :])
        scale = 0.5e-12 * units.moment_velocity_density(3) * units.ELEMENTARY_CHARGE
        np.testing.assert_allclose(1j * result.chi["total"].mean[0], scale * moments.mean, rtol=1e-9, atol=1e-20)
        assert np.abs(moments.mean[2, 2]) > 10 * np.abs(moments.mean[0, 1])


class TestMustVanish:
    def test_single_isotropic_weyl_node_has_no_extrinsic_part(self):
        """w^A of scalar impurities vanishes in third order and v_sj = 0: kernels from the node's own states."""
        sigma = jk.models.pauli.SPIN

        def spin(state):  # ⟨σ⟩ = k/|k| of the upper band
            return state.k / (state.k @ state.k) ** 0.5

        def overlap(p, q):
            return 0.5 * (1 + spin(p) @ spin(q))

        def shift(p, q):  # −Im{⟨Du|u'⟩ + ⟨u|Du'⟩}/⟨u|u'⟩ for the monopole: along e×e'/(|k|(1 + e·e'))
            return jnp.cross(spin(p), spin(q)) / jnp.linalg.norm(p.k) / (1 + spin(p) @ spin(q) + 1e-12)

        model = jk.KdotP(lambda k: jnp.tensordot(k, sigma, axes=1), ((-0.5, 0.5),) * 3)
        surface = jk.fermi_surface(model, 0.2, sampler=jk.Lines(16), replicas=4)
        others = surface.integrate(surface.k / np.linalg.norm(surface.k, axis=1)[:, None]).mean

        def triple(p, q):  # ∫dp'' Im[⟨p|p'⟩⟨p'|p''⟩⟨p''|p⟩] = ¼ e×e'·∫e''
            return 0.25 * jnp.cross(spin(p), spin(q)) @ jnp.asarray(others) / q.density_of_states**2

        kernels = jk.KernelDisorder(lambda p, q: overlap(p, q) / q.density_of_states, triple, shift, tau=1.0)
        result = jk.gyrotropic_response(surface, kernels)
        scale = np.abs(result.g["intrinsic"].mean).max()
        assert scale > 0
        assert np.abs(result.g["skew"].mean).max() < 1e-6 * scale
        assert np.abs(result.g["side_jump"].mean).max() < 1e-6 * scale

    @pytest.mark.parametrize("name", ["intrinsic", "skew", "side_jump"])
    def test_inversion_symmetric_weyl_semimetal(self, name):
        """g = 0 for a centre of inversion in the crystal and in the kernels (w^A even, δr odd under p → −p)."""
        helical = jk.RelaxationTime(0.5, 30.0, 0.7)
        even = jk.KernelDisorder(
            isotropic(0.5),
            lambda p, q: jnp.cross(p.velocity, q.velocity)[2] / q.density_of_states,
            lambda p, q: jnp.cross(jnp.array([0.0, 0.0, 1.0]), p.velocity - q.velocity),
            tau=0.5,
        )
        g = response("weyl", {}, 0.2, n=12, disorder=even).g[name]
        chiral = {"inversion": False, "tilt": 0.3}
        reference = response("weyl", chiral, 0.2, n=12, disorder=even if name == "intrinsic" else helical).g[name]
        scale = np.abs(reference.mean).max()
        assert np.all(np.abs(g.mean) <= 5 * np.abs(g.stderr) + 1e-10 * scale)
        assert np.abs(g.stderr).max() < 0.05 * scale

    def test_cubic_extrinsic_part_in_the_rta(self):
        """Trace zero to rounding (75), so that a disorder of cubic symmetry could give nothing at all."""
        result = response("kramers-weyl-o", {}, -1.6)
        for name in ("skew", "side_jump"):
            trace, size = np.abs(result.trace()[name].mean).max(), np.abs(result.g[name].mean).max()
            assert trace < 1e-12 * size

    def test_cubic_kernels_give_no_extrinsic_part(self):
        """w^A and δr summed over the three cubic axes: g_sk and g_sj vanish for point group O."""
        skews = [helical_skew(30.0, axis) for axis in np.eye(3)]
        shifts = [helical_shift(0.7, axis) for axis in np.eye(3)]
        cubic = jk.KernelDisorder(
            isotropic(0.5),
            lambda p, q: sum(skew(p, q) for skew in skews),
            lambda p, q: sum(shift(p, q) for shift in shifts),
            tau=0.5,
        )
        result = response("kramers-weyl-o", {}, -1.6, n=20, disorder=cubic)
        one_axis = response("kramers-weyl-o", {}, -1.6, n=12)
        for name in ("skew", "side_jump"):
            g, scale = result.g[name], np.abs(one_axis.g[name].mean).max()
            assert np.all(np.abs(g.mean) <= 5 * np.abs(g.stderr) + 1e-12 * scale)
            assert np.abs(g.stderr).max() < 1e-3 * scale

    @pytest.mark.parametrize("group", ["C3h", "D3h", "Td"])
    def test_groups_that_are_not_gyrotropic(self, group):
        """A k·p model with just this symmetry: |k|² plus the group's invariant, spin–orbit of the same symmetry."""

        s = jk.models.pauli.SPIN

        def hamiltonian(k):
            x, y, z = k
            planar = 3 * y * x**2 - y**3
            field = {
                "Td": jnp.stack([x * (y**2 - z**2), y * (z**2 - x**2), z * (x**2 - y**2)]),
                "D3h": jnp.stack([0 * x, 0 * x, planar]),
                "C3h": jnp.stack([0 * x, 0 * x, planar + 0.7 * (x**3 - 3 * x * y**2)]),
            }[group]
            return 3.0 * k @ k * jnp.eye(2) + jnp.tensordot(field, s, axes=1)

        model = jk.KdotP(hamiltonian, ((-0.6, 0.6),) * 3, spin=s, point_group=group)
        jk.verify_point_group(model)
        surface = jk.fermi_surface(model, 0.3, sampler=jk.Lines(16), replicas=6)
        tensor = surface.integrate(surface.orbital_moment[:, :, None] * surface.velocity[:, None, :])
        size = np.linalg.norm(surface.orbital_moment, axis=1) * np.linalg.norm(surface.velocity, axis=1)
        scale = surface.integrate(size).mean  # what the tensor would be without cancellation
        assert scale > 0
        assert np.all(np.abs(tensor.mean) <= 5 * tensor.stderr + 1e-10 * scale)
        assert tensor.stderr.max() < 1e-2 * scale


class TestSymmetry:
    @pytest.mark.parametrize(("name", "parameters", "level"), CHIRAL)
    def test_forbidden_vanish_and_allowed_do_not(self, name, parameters, level):
        result = response(name, parameters, level, n=20)
        operations = jk.verify_point_group(result.surface.model)
        allowed = jk.symmetry.allowed_components(operations)
        # The disorder's axis z lowers O to D4: the intrinsic part alone must obey the crystal.
        g = result.g["intrinsic"]
        mean, stderr = g.mean[0].imag, g.stderr[0].imag
        scale = np.abs(mean).max()
        assert np.all(np.abs(mean[~allowed]) <= 5 * stderr[~allowed] + 1e-12 * scale)
        assert np.all(np.abs(mean[allowed]) > 10 * stderr[allowed])
        projected = jk.symmetry.project_gyrotropic(operations, mean)
        assert np.abs(projected - mean).max() < 5 * stderr.max() + 1e-12 * scale

    @pytest.mark.parametrize(("name", "parameters", "level"), [CHIRAL[0], CHIRAL[1], CHIRAL[3]])
    def test_uniaxial_extrinsic_parts_are_diagonal(self, name, parameters, level):
        result = response(name, parameters, level)
        for mechanism in ("skew", "side_jump"):
            g = result.g[mechanism]
            mean, stderr = g.mean[0].imag, g.stderr[0].imag
            off = ~np.eye(3, dtype=bool)
            assert np.all(np.abs(mean[off]) <= 5 * stderr[off] + 1e-12 * np.abs(mean).max())
            assert abs(mean[2, 2]) > 20 * stderr[2, 2]
            assert abs(mean[0, 0] + 0.5 * mean[2, 2]) < 5 * np.hypot(stderr[0, 0], stderr[2, 2]) + 1e-9 * abs(
                mean[2, 2]
            )

    def test_handedness_flips_the_sign(self):
        right, left = (response("haldane-chiral", {"chirality": c}, -2.2).g["intrinsic"] for c in (1, -1))
        error = np.abs(right.stderr + left.stderr).max()
        assert np.abs(right.mean + left.mean).max() < 5 * error
        assert np.abs(right.mean).max() > 50 * error


class TestFrequency:
    def test_mechanisms_fall_with_their_own_power(self):
        f = np.array([0.0, 0.7])
        result = response("kramers-weyl-d4", {}, -1.5, n=8, replicas=2, frequency=f)
        x = 1 - 2j * np.pi * f[1] * 0.5
        for name, power in (("intrinsic", 1), ("side_jump", 2), ("skew", 3)):
            g = result.g[name].mean
            np.testing.assert_allclose(g[1], g[0] / x**power, rtol=1e-12, atol=1e-25)

    def test_reality(self):
        """g(−ω) = −g(ω)*: the induced M(t) is real."""
        result = response("kramers-weyl-d4", {}, -1.5, n=8, replicas=2, frequency=[0.7, -0.7])
        g = result.g["total"].mean
        np.testing.assert_allclose(g[1], -g[0].conj(), rtol=1e-12, atol=1e-25)

    def test_dichroism_is_the_imaginary_part(self):
        result = response("kramers-weyl-d4", {}, -1.5, n=8, replicas=2, frequency=[0.7])
        np.testing.assert_array_equal(
            result.circular_dichroism()["total"].mean, result.rotatory_power()["total"].mean.imag
        )


def test_weyl_node_closed_forms():
    """Berry dipole and K of a single node, both chiralities.

    Upper band of χ v k·σ: v = v k̂, Ω = −χ k̂/2k², and
    m = (|e|/ħ)(ε_− − ε_+)·(−Ω/2) = −χ v k̂/2k · |e|/ħ.
    On the sphere k = μ/v: ∫(dk) δ(ε−μ) v_a Ω_b = −χ δ_ab/(12π²) and
    ∫ v_a m_b δ = −χ δ_ab μ/(12π²) · (2mₑ/ħ²) μ_B.
    """
    for chirality in (1, -1):
        model = jk.KdotP(
            lambda k, c=chirality: c * 1.7 * jnp.tensordot(k, jk.models.pauli.SPIN, axes=1), ((-0.5, 0.5),) * 3
        )
        surface = jk.fermi_surface(model, 0.3, sampler=jk.Lines(24), replicas=6)
        dipole = surface.integrate(surface.velocity[:, :, None] * surface.berry_curvature[:, None, :])
        moment = surface.integrate(surface.velocity[:, :, None] * surface.orbital_moment[:, None, :])
        exact = -chirality / (12 * np.pi**2) * np.eye(3)
        assert np.all(np.abs(dipole.mean - exact) < 5 * dipole.stderr + 1e-12)
        exact = exact * 0.3 * units.MAGNETON_PER_EV_A2
        assert np.all(np.abs(moment.mean - exact) < 5 * moment.stderr + 1e-12)
        assert dipole.stderr.max() < 1e-6


def test_flux_violation_warns():
    """An axis that is no symmetry axis: ∫w^A δ ≠ 0, and the result says so."""
    tilted = jk.RelaxationTime(0.5, 30.0, axis=(1, 0, 1))
    result = response("kramers-weyl-d4", {}, -1.5, n=12, replicas=2, disorder=tilted)
    assert result.quality.flux > 0.02
    assert "does not conserve flux" in result.warnings[-1]
    assert response("kramers-weyl-d4", {}, -1.5, n=16, replicas=2).warnings == ()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: jk.RelaxationTime(tau=0), "tau=0 must be a positive time"),
        (lambda: jk.RelaxationTime(tau_skew=0.0), "tau_skew=0.0 must be a non-zero time"),
        (lambda: jk.RelaxationTime(axis=(0, 0, 0)), "not all zero"),
        (lambda: jk.RelaxationTime(direction="spin"), "must be 'velocity' or 'momentum'"),
        (lambda: response("kramers-weyl-d4", {}, -1.5, n=4, replicas=1, frequency=[np.nan]), "finite numbers in THz"),
        (
            lambda: response(
                "kramers-weyl-d4", {}, -1.5, n=4, replicas=1, disorder=jk.RelaxationTime(direction="momentum")
            ),
            "has no meaning in a crystal",
        ),
        (lambda: response("kramers-weyl-d4", {}, -1.5, n=4, replicas=2).magnetization([1.0, 2.0]), "three finite"),
    ],
)
def test_bad_input_is_one_line(make, message):
    with pytest.raises(jk.JaxkinError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


class TestUnits:
    """Conversion factors, derived a second way."""

    def test_velocity(self):
        from scipy import constants as si

        free = 2 * units.HBAR2_OVER_2M * 0.1  # ∂ε/∂k at 0.1 Å⁻¹ of a free electron, eV Å
        assert free * units.VELOCITY == pytest.approx(si.hbar * 1e9 / si.electron_mass, rel=1e-12)

    def test_magneton(self):
        from scipy import constants as si

        exact = (si.e / si.hbar) * si.e * 1e-20 / si.physical_constants["Bohr magneton"][0]
        assert exact == pytest.approx(units.MAGNETON_PER_EV_A2, rel=1e-8)

    def test_siemens(self):
        """|e| τ K for one Bohr magneton, 1 m/s·J⁻¹m⁻³… through the elementary units."""
        from scipy import constants as si

        one = si.physical_constants["Bohr magneton"][0] * (si.e * 1e-10 / si.hbar) * 1e30 / si.e
        assert one == pytest.approx(units.moment_velocity_density(3), rel=1e-12)


def test_pair_integral_stays_in_memory():
    """10⁴ × 10⁴ pairs need 0.8 GB as an array of doubles; the tiles keep the peak growth below 0.3 GB."""
    import resource

    states = jnp.linspace(0, 1, 10_000)
    weights = np.full(10_000, 1e-4)
    jk.pair_integral(lambda p, q: jnp.cos(p - q), states[:2000], weights[:2000])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = jk.pair_integral(lambda p, q: jnp.cos(p - q), states, weights)
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6  # GB
    exact = np.array([np.sum(weights * np.cos(float(s) - np.asarray(states))) for s in states[::997]])
    np.testing.assert_allclose(result[::997], exact, rtol=1e-12)
    assert growth < 0.3


GAP_DISORDER = [
    jk.PointImpurity(0.7, [0], 1e-3),
    jk.FiniteRangeImpurity(jk.Gaussian(1.0), 0.7, 1e-3),
    jk.FiniteRangeImpurity(jk.ScreenedCoulomb(10.0), 1.0, 1e-3),
]


@pytest.mark.parametrize("disorder", GAP_DISORDER, ids=["point", "gaussian", "coulomb"])
@pytest.mark.parametrize("temperature", [0.0, 20.0])
def test_a_scan_goes_on_past_a_gap_and_the_ends_of_the_bands(disorder, temperature):
    """Haldane's model: σ_xy = ±e²/h and nothing else in the gap, nothing at all outside the bands."""
    levels = [-50.0, 0.0, 50.0, -2.0]
    scan = jk.fermi_surfaces(jk.models.get("haldane"), levels, temperature, jk.Lines(8), replicas=2)
    for level, solver in [(level, solver) for level in levels for solver in ("rta", "exact")]:
        if level == -2.0:
            surface = scan[3]
        else:
            with pytest.warns(jk.AccuracyWarning, match="lies in a gap or outside the bands"):
                surface = scan[levels.index(level)]
        found = jk.gyrotropic_response(surface, disorder, solver=solver)
        sigma = found.conductivity.sigma
        assert (sigma["drude"].mean[0, 0, 0].real > 0) == (level == -2.0)
        if level != -2.0:
            assert not any(part.samples.any() for part in [*found.g.values(), *found.static.values()])
            hall = si.e**2 / si.h if level == 0.0 else 0.0
            assert abs(abs(sigma["total"].mean[0, 0, 1]) - hall) < 1e-6 * si.e**2 / si.h
