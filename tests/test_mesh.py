"""The Fermi surface as triangles and as files of other programs: areas, volumes, states, energies read back."""

import base64
import csv
import json
import re

import jax.numpy as jnp
import numpy as np
import pytest

import jaxkin as jk
from jaxkin.output import dataset as ds
from jaxkin.output import relief
from jaxkin.surface.brillouin import folded, zone_edges

LEVEL = 0.5
RADIUS = float(np.sqrt(LEVEL / jk.units.HBAR2_OVER_2M))
STEPS = np.concatenate([np.eye(3, dtype=int), -np.eye(3, dtype=int)])
LATTICES = {
    "cubic": 3.0 * np.eye(3),
    "fcc": 2.0 * (np.ones((3, 3)) - np.eye(3)),
    "hexagonal": np.array([[3.0, 0, 0], [-1.5, 1.5 * 3**0.5, 0], [0, 0, 5.0]]),
}


def sampled(model, level, **options):
    return jk.fermi_surface(model, level, sampler=jk.Lines(8), replicas=4, **options)


@pytest.fixture(scope="module")
def sphere():
    return sampled(jk.models.get("helical-isotropic", moment=1.5), LEVEL)


@pytest.fixture(scope="module")
def open_sheets():
    """Cosine bands on three lattices, whose surface is open."""
    models = {
        name: jk.TightBinding(rows, STEPS, -np.ones((6, 1, 1)), np.zeros((1, 3))) for name, rows in LATTICES.items()
    }
    return {name: sampled(model, -1.0) for name, model in models.items()}


def edges_of(triangles):
    pairs = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    return np.unique(pairs, axis=0, return_counts=True)


def volume(mesh):
    a, b, c = np.moveaxis(mesh.vertices[mesh.simplices], 1, 0)
    return float(np.sum(a * np.cross(b, c))) / 6


class TestSphere:
    @pytest.mark.parametrize(("across", "area", "inside"), [(8, 6e-3, 1.5e-2), (16, 1.5e-3, 4e-3), (32, 4e-4, 1.1e-3)])
    def test_area_and_volume_come_from_below_with_the_square_of_the_cells(self, sphere, across, area, inside):
        """Worst of area 5.3e-3, 1.2e-3, 3.2e-4; of volume 1.3e-2, 3.3e-3, 9e-4: chords of a convex surface."""
        mesh = sphere.mesh(across)
        assert 0 < 1 - mesh.measure.sum() / (4 * np.pi * RADIUS**2) < area
        assert 0 < 1 - volume(mesh) / (4 * np.pi / 3 * RADIUS**3) < inside

    def test_vertices_lie_on_the_level_with_their_geometry(self, sphere):
        mesh = sphere.mesh()
        np.testing.assert_allclose(np.linalg.norm(mesh.vertices, axis=1), RADIUS, rtol=2e-6)  # worst 7e-7
        unit = mesh.vertices / RADIUS
        speed = 2 * LEVEL / RADIUS
        np.testing.assert_allclose(
            mesh.velocity, speed * unit, rtol=0, atol=2e-3 * speed
        )  # worst 9e-4: before the step
        np.testing.assert_allclose(mesh.orbital_moment[:, 2], 1.5 * unit[:, 2], rtol=0, atol=3e-3)

    def test_it_is_closed_and_its_outside_is_that_of_higher_energies(self, sphere):
        """Every edge belongs to two triangles, V − E + F = 2, and the volume is positive."""
        mesh = sphere.mesh(12)
        edges, count = edges_of(mesh.simplices)
        assert np.all(count == 2)
        assert len(mesh.vertices) - len(edges) + len(mesh.simplices) == 2
        assert volume(mesh) > 0


def test_pockets_of_tellurium_are_closed():
    surface = sampled(jk.models.get("tellurium"), -0.02)
    mesh = surface.mesh(10)
    assert np.all(edges_of(mesh.simplices)[1] == 2)
    assert len(np.unique(mesh.pocket)) == len(surface.pockets) == 2
    parts = [mesh.part(mesh.pocket == number) for number in (0, 1)]
    for part in parts:
        assert volume(part) < 0  # holes: the energy falls outwards
    holes = surface.carrier_density()["holes"].mean * (2 * np.pi) ** 3
    assert abs(-sum(map(volume, parts)) / holes - 1) < 0.02  # worst 0.012: chords


class TestFirstZone:
    @pytest.mark.parametrize(("name", "edges"), [("cubic", 12), ("fcc", 36), ("hexagonal", 18)])
    def test_edges(self, open_sheets, name, edges):
        """Of a cube, a truncated octahedron's dual lattice zone, and a hexagonal prism."""
        found = zone_edges(open_sheets[name].model)
        assert found.shape == (edges, 2, 3)
        basis = np.asarray(open_sheets[name].model.basis)
        steps = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3), axis=-1).reshape(-1, 3) @ basis
        middle = found.mean(axis=1)  # as far from three lattice points as from the origin
        distance = np.linalg.norm(middle[:, None, :] - steps, axis=2)
        nearest = np.sort(distance, axis=1)
        np.testing.assert_allclose(nearest[:, 0], np.linalg.norm(middle, axis=1), rtol=1e-9)
        np.testing.assert_allclose(nearest[:, :3], nearest[:, :1] * np.ones(3), rtol=1e-9)

    @pytest.mark.parametrize("name", LATTICES)
    def test_sheets_that_are_cut_keep_their_area_and_sides(self, open_sheets, name):
        surface = open_sheets[name]
        mesh = surface.mesh()
        inside = folded(mesh, surface.model, surface.pockets)
        np.testing.assert_allclose(inside.measure.sum(), mesh.measure.sum(), rtol=1e-9)
        basis = np.asarray(surface.model.basis)
        for vector in np.stack(np.meshgrid(*[[-1, 0, 1]] * 3), axis=-1).reshape(-1, 3) @ basis:
            assert np.max(inside.vertices @ vector) <= 0.5 * vector @ vector + 1e-9
        a, b, c = np.moveaxis(inside.vertices[inside.simplices], 1, 0)
        normal = np.cross(b - a, c - a)
        seen = np.sum(normal * inside.velocity[inside.simplices].mean(axis=1), axis=1)
        assert np.all(seen > -1e-12)

    @pytest.mark.parametrize("name", LATTICES)
    def test_states_are_those_of_the_sampled_surface(self, open_sheets, name):
        """∫dA/|∂ε/∂k|/(2π)³, with |∂ε/∂k| of the corners; worst 1.5 % at this size of triangles."""
        mesh = open_sheets[name].mesh(24)
        slowness = (1 / np.linalg.norm(mesh.velocity, axis=1))[mesh.simplices].mean(axis=1)
        states = float(mesh.measure @ slowness) / (2 * np.pi) ** 3
        found = open_sheets[name].density_of_states()
        assert abs(states - found.mean) < 5 * found.stderr + 0.01 * states


def test_two_dimensions_make_segments():
    surface = sampled(jk.models.get("massive-dirac-2d", velocity=1.0, mass=0.1), 0.3)
    mesh, radius = surface.mesh(), np.sqrt(0.3**2 - 0.1**2)
    assert mesh.simplices.shape[1] == 2 and len(mesh.vertices) == len(mesh.simplices)
    assert 0 < 1 - mesh.measure.sum() / (2 * np.pi * radius) < 1e-3
    exact = jk.band_geometry(surface.model, mesh.k, 1).orbital_moment
    np.testing.assert_allclose(mesh.orbital_moment, exact, rtol=1e-3)


def test_what_has_no_mesh_is_one_line(sphere):
    chain = jk.TightBinding([[2.0, 0, 0]], [[1], [-1]], -np.ones((2, 1, 1)), [[0.0]])
    with pytest.raises(jk.JaxkinError, match="one dimension"):
        sampled(chain, 0.3).mesh()
    with pytest.raises(jk.JaxkinError, match="elsewhere"):
        sphere.at(fermi_level=0.51).mesh()
    with pytest.raises(jk.JaxkinError, match="across"):
        sphere.mesh(0)


class TestFiles:
    def test_bxsf_read_back_has_the_energies(self, tmp_path):
        """As XCrySDen reads it: origin, three vectors, and energies with the last index fastest, ends included."""
        surface = sampled(jk.models.get("kramers-weyl-d3"), -1.2)
        text = surface.export(tmp_path / "fs.bxsf", grid=6).read_text()
        assert float(re.search(r"Fermi Energy: (\S+)", text)[1]) == -1.2
        body = text.split("BEGIN_BANDGRID_3D_bands")[1].split("END_BANDGRID_3D")[0]
        header, *bands = body.split("BAND:")
        numbers = [float(word) for word in header.split()]
        count, size, origin, vectors = int(numbers[0]), [*map(int, numbers[1:4])], numbers[4:7], numbers[7:]
        assert size == [7, 7, 7] and origin == [0, 0, 0] and len(bands) == count
        np.testing.assert_allclose(np.reshape(vectors, (3, 3)), surface.model.basis, atol=1e-9)
        for part in bands:
            band, *values = part.split()
            grid = np.reshape(np.array(values, float), size)
            for i, j, m in ((0, 0, 0), (1, 2, 3), (5, 0, 4), (6, 6, 6)):
                exact = surface.model.bands(np.array([i, j, m]) / 6)[int(band) - 1]
                assert abs(grid[i, j, m] - float(exact)) < 1e-7
            np.testing.assert_allclose(grid[0], grid[-1], atol=1e-7)  # the period

    def test_vtk_has_the_triangles_and_what_lives_on_them(self, sphere, tmp_path):
        path = sphere.export(
            tmp_path / "fs.vtk", {"k_z": lambda k, band: k[2], "twice k": lambda k, band: 2 * k}, across=8
        )
        lines, mesh = path.read_text().splitlines(), sphere.mesh(8)
        assert lines[0].startswith("# vtk DataFile") and lines[2:4] == ["ASCII", "DATASET POLYDATA"]
        points, triangles = len(mesh.vertices), len(mesh.simplices)
        assert lines[4] == f"POINTS {points} double" and lines[5 + points] == f"POLYGONS {triangles} {4 * triangles}"
        np.testing.assert_allclose(np.loadtxt(lines[5 : 5 + points]), mesh.vertices, rtol=1e-8, atol=1e-12)
        rows = np.loadtxt(lines[6 + points : 6 + points + triangles], dtype=int)
        np.testing.assert_array_equal(rows, np.column_stack([np.full(triangles, 3), mesh.simplices]))
        start = lines.index("VECTORS orbital_moment_mu_B double") + 1
        np.testing.assert_allclose(
            np.loadtxt(lines[start : start + points]), mesh.orbital_moment, rtol=1e-7, atol=1e-12
        )
        start = lines.index("SCALARS k_z double 1") + 2
        np.testing.assert_allclose(np.loadtxt(lines[start : start + points]), mesh.vertices[:, 2], rtol=1e-5, atol=1e-8)
        assert "VECTORS twice_k double" in lines

    def test_csv_integrates_to_the_density_of_states(self, sphere, tmp_path):
        path = sphere.export(tmp_path / "points.csv", {"cos": lambda k, band: jnp.cos(k[0])})
        rows = list(csv.DictReader(path.read_text().splitlines()))
        assert len(rows) == len(sphere)
        replicas = [sum(float(r["weight[1/(eV A^3)]"]) for r in rows if r["replica"] == str(n)) for n in range(4)]
        np.testing.assert_allclose(replicas, sphere.density_of_states().samples, rtol=1e-12)
        k = np.array([[float(r[f"k_{axis}[1/A]"]) for axis in "xyz"] for r in rows])
        np.testing.assert_allclose(k, sphere.k, rtol=1e-15)
        np.testing.assert_allclose([float(r["cos"]) for r in rows], np.cos(k[:, 0]), rtol=1e-12)

    def test_the_page_holds_the_surface_and_needs_nothing_else(self, sphere, tmp_path):
        text = sphere.export(tmp_path / "fs.html", {"</script>": lambda k, band: k[0]}, across=8).read_text()
        assert not re.search(r"https?://", text) and "<link" not in text and text.count("</script>") == 1
        data = json.loads(re.search(r"const data = (\{.*\});", text)[1])
        mesh = sphere.mesh(8)
        vertices = np.frombuffer(base64.b64decode(data["vertices"]), "<f4").reshape(-1, 3)
        np.testing.assert_allclose(vertices, mesh.vertices, rtol=1e-6, atol=1e-9)
        np.testing.assert_array_equal(
            np.frombuffer(base64.b64decode(data["simplices"]), "<u4").reshape(-1, 3), mesh.simplices
        )
        moment = next(one for one in data["quantities"] if one["label"] == "orbital moment z (mu_B)")
        assert moment["signed"]
        values = np.frombuffer(base64.b64decode(moment["values"]), "<f4")
        np.testing.assert_allclose(values, mesh.orbital_moment[:, 2], rtol=1e-5, atol=1e-9)

    def test_what_cannot_be_written_is_one_line(self, sphere, tmp_path):
        for name in ("fs.vtx", "fs", "fs.jpg"):
            with pytest.raises(
                jk.JaxkinError, match=r"no format .* choose \.bxsf: .*\.vtk: .*\.csv: .*\.html: .*\.png"
            ):
                sphere.export(tmp_path / name)
        flat = sampled(jk.models.get("massive-dirac-2d"), 0.3)
        with pytest.raises(jk.JaxkinError, match="three dimensions"):
            flat.export(tmp_path / "fs.bxsf")
        with pytest.raises(jk.JaxkinError, match="cannot be written"):
            sphere.export(tmp_path / "nowhere" / "fs.csv")
        with pytest.raises(jk.JaxkinError, match=r"colour 'velocityx' is unknown \(did you mean 'velocity_x'\?\)"):
            sphere.export(tmp_path / "fs.png", across=4, colours=["velocityx"])
        with pytest.raises(jk.JaxkinError, match="7 colours: one picture holds at most 6"):
            sphere.export(tmp_path / "fs.png", across=4, colours=["velocity"] * 7)

    def test_a_picture_is_coloured_by_anything(self, sphere, tmp_path, monkeypatch):
        """By one's own quantities, by components, or without a word by the moment and the velocity."""
        seen, draw = [], relief._draw_triangles

        def watched(ax, mesh, values, *rest):
            seen.append((mesh, values))
            return draw(ax, mesh, values, *rest)

        monkeypatch.setattr(relief, "_draw_triangles", watched)
        path = sphere.export(tmp_path / "fs.png", {"twice k": lambda k, band: 2 * k[2]}, across=6)
        assert path.read_bytes().startswith(b"\x89PNG")
        ((mesh, values),) = seen
        np.testing.assert_allclose(values, 2 * mesh.vertices[:, 2], rtol=1e-5, atol=1e-8)
        sphere.export(tmp_path / "fs.png", across=6, colours=["velocity_y", "orbital_moment"])
        np.testing.assert_array_equal(seen[1][1], mesh.velocity[:, 1])
        np.testing.assert_array_equal(seen[2][1], np.linalg.norm(mesh.orbital_moment, axis=1))
        sphere.export(tmp_path / "fs.png", across=6)
        assert len(seen) == 5
        np.testing.assert_array_equal(seen[4][1], np.linalg.norm(mesh.velocity, axis=1))


class TestResults:
    """What a run keeps of it, and draws."""

    def test_at_a_temperature_in_a_gap_it_is_that_of_the_carriers(self):
        """Levels at 0.1 eV and above, μ 0.06 eV below: the surface of the carriers' mean energy."""
        model = jk.models.get("massive-dirac-2d", mass=0.1)
        surface = jk.fermi_surface(model, 0.04, 300.0, sampler=jk.Grid(24), replicas=2)
        response = jk.gyrotropic_response(surface, jk.RelaxationTime(1.0))
        kept = ds.surface_mesh(response)
        energy = kept.mesh_k.attrs["energy_eV"]
        assert energy != 0.04 and abs(energy) > 0.1
        k = kept.mesh_k.values
        np.testing.assert_allclose(np.hypot(np.linalg.norm(k, axis=1), 0.1), abs(energy), rtol=1e-4)

    def test_skew_acceleration_between_points(self, sphere):
        """Q = −(v/3τ_sk)(z·e) z×e, Eq. (12), from the nearest points; worst 6 % of the largest, at the poles."""
        fine = jk.fermi_surface(sphere.model, LEVEL, sampler=jk.Lines(24), replicas=2)
        kept = ds.surface_mesh(jk.gyrotropic_response(fine, jk.RelaxationTime(1.0, 50.0)))
        e = kept.mesh_k.values / np.linalg.norm(kept.mesh_k.values, axis=1, keepdims=True)
        v = 2 * LEVEL / RADIUS
        exact = -v / 150 * e[:, 2:] * np.cross([0.0, 0.0, 1.0], e)
        assert np.abs(kept.mesh_skew_acceleration.values - exact).max() < 0.1 * np.abs(exact).max()
