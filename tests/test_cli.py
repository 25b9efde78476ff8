"""Command line and configuration: what a user types, and what they get back."""

import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from test_wannier90 import TB

import jaxkin as jk
from jaxkin.cli import app, config, study
from jaxkin.cli.defaults import completed
from jaxkin.cli.section import numbers
from jaxkin.output import dataset as ds
from jaxkin.output.uncertainty import with_uncertainty

QUICK = ["--set", "n=6", "--set", "replicas=2", "--set", "frequency=[0.0, 1.0]"]


def run(*arguments, code=0, out=None):
    """Run the command in this process; returns (stdout, stderr), or with a file as ``out`` that and stderr."""
    import contextlib
    import io

    out, err = out or io.StringIO(), io.StringIO()
    sys_argv, at_once = sys.argv, os._exit
    os._exit = sys.exit  # of a command that ends its process
    sys.argv = ["jaxkin", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                app.main()
                status = 0
            except SystemExit as stop:
                status = int(stop.code or 0)
    finally:
        sys.argv, os._exit = sys_argv, at_once
    assert status == code, err.getvalue()
    return out.getvalue() if isinstance(out, io.StringIO) else out, err.getvalue()


def test_json_has_what_scripts_read():
    text, _ = run("run", "kramers-weyl-d4", "--set", "fermi_level=-1.5", *QUICK, "--json")
    document = json.loads(text)
    assert document["fermi_level"] == -1.5
    assert document["frequency"] == [0.0, 1.0]
    for key in ("g", "g_stderr"):
        assert list(document[key]) == ["intrinsic", "skew", "side_jump", "nonlocal", "gaussian_skew", "total"]
        assert np.shape(document[key]["total"]) == (2, 3, 3, 2)
    assert document["evaluations"] > document["surface_points"] > 0
    assert document["seconds"] > 0
    assert document["warnings"] == []
    model = jk.models.get("kramers-weyl-d4")
    surface = jk.fermi_surface(model, -1.5, sampler=jk.Lines(6), replicas=2)
    holes, tau = surface.carrier_density()["holes"] * 1e24, document["tau"]
    assert document["density_unit"] == "cm^-3" and tau == pytest.approx(0.6)
    assert (document["holes"], document["holes_stderr"]) == pytest.approx((float(holes.mean), float(holes.stderr)))
    response = jk.gyrotropic_response(surface, jk.RelaxationTime(0.6, 200.0, 1.0), [0.0, 1.0])
    made = response.magnetization_gauss([0, 0, 1e4])["total"].mean[0, 2].real
    assert document["induced_field"]["total"][0][0] == pytest.approx(float(made))


def test_theory_of_the_paper():
    options = ("run", "kramers-weyl-d4", "--set", "fermi_level=-1.5", *QUICK, "--json")
    whole, paper = (json.loads(run(*options, *more)[0])["g"] for more in ((), ("--set", "theory=paper")))
    assert list(paper) == ["intrinsic", "skew", "side_jump", "total"]
    for name in list(paper)[:3]:
        assert paper[name] == whole[name]
    difference = np.array(whole["total"]) - np.array(paper["total"])
    np.testing.assert_allclose(difference, np.array(whole["nonlocal"]), rtol=1e-9, atol=1e-18)


def test_quantum_solver(tmp_path):
    """The library's numbers, in the table's, JSON's and NetCDF's clothes; what it cannot do is one line."""
    impurity = 'disorder.impurities=[{kind="point",strength=1.0,density=1.0,orbitals=[0,1],order="born"}]'
    options = ["--set", "fermi_level=-1.6", "--set", "solver=quantum", "--set", "grid=8", "--set", "sea=false"]
    options += ["--set", "replicas=2", "--set", "frequency=[0.0]"]
    text, _ = run("run", "kramers-weyl-o", *options, "--set", impurity, "--json", "--out", tmp_path)
    disorder = jk.PointImpurity(1.0, [0, 1], 1.0, order="born")
    exact = jk.quantum.gyrotropic(jk.models.get("kramers-weyl-o"), disorder, -1.6, grid=8, sea=False)
    parts = np.array(json.loads(text)["g"]["total"])
    np.testing.assert_allclose(parts[..., 1], exact.g["total"].mean.imag, rtol=1e-9, atol=1e-20)
    saved = ds.load(tmp_path / "result.nc")
    np.testing.assert_allclose(saved.g.sel(side="total").values[0], exact.g["total"].mean, rtol=1e-9, atol=1e-20)
    table, _ = run("run", "kramers-weyl-o", *options, "--set", impurity)
    assert "Im g_ab at 0 THz" in table and "(" in table.split("│ zz │")[1]
    for refused in (options, [*options, "--set", impurity, "--set", "temperature=10.0"]):
        _, error = run("run", "kramers-weyl-o", *refused, code=1)
        assert "response.solver = 'quantum'" in error and error.count("\n") == 1


def test_json_equals_the_library():
    text, _ = run("run", "kramers-weyl-d4", "--set", "fermi_level=-1.5", *QUICK, "--json")
    surface = jk.fermi_surface(jk.models.get("kramers-weyl-d4"), -1.5, sampler=jk.Lines(6), replicas=2)
    response = jk.gyrotropic_response(surface, jk.RelaxationTime(0.6, 200.0, 1.0), [0.0, 1.0])
    parts = np.array(json.loads(text)["g"]["total"])
    np.testing.assert_allclose(parts[..., 0] + 1j * parts[..., 1], response.g["total"].mean, rtol=1e-12, atol=1e-25)


def test_a_file_that_has_changed_is_refused(tmp_path):
    file = tmp_path / "x_tb.dat"
    file.write_text(TB)
    given = ["fermi_level=0.0", "tau=1.0", "tau_skew=inf", "side_jump=0.0"]
    kept = completed(config.load(str(file), given))
    assert kept.model.sha256 == hashlib.sha256(TB.encode()).hexdigest()
    assert completed(kept) == kept
    (tmp_path / "config.toml").write_text(config.as_toml(kept))
    file.write_text(TB.replace("\n2\n3\n", "\n2 3\n"))
    with pytest.raises(jk.ConfigError, match=r"x_tb.dat: is not the file of model.sha256 = \w{12}\.\.\., which this"):
        completed(config.load(str(tmp_path / "config.toml"), []))
    again = completed(config.load(str(tmp_path / "config.toml"), ["sha256="]))
    assert again.model.sha256 not in ("", kept.model.sha256)


def test_densities_in_place_of_levels(tmp_path):
    """A scan of densities at two temperatures: levels as the library's, and a dimension of the files."""
    densities = 'density=["1e13 cm^-2 holes", "2e13 cm^-2 holes"]'
    options = ["haldane", "--set", densities, "--set", "temperature=[100.0, 200.0]", *QUICK, "--out", tmp_path]
    text, _ = run("run", *options)
    data = ds.load(tmp_path / "result.nc")
    assert data.sigma.dims == ("temperature", "density", "frequency", "a", "b")
    model = jk.models.get("haldane")
    expected = jk.fermi_levels(model, [1e-3, 2e-3, 1e-3, 2e-3], [100.0, 100.0, 200.0, 200.0], carriers="holes")
    assert np.abs(data.fermi_level.values.ravel() - expected).max() < 1e-12
    assert "n (cm^-2)" in text
    assert {"scan.png", "scan_temperature.png"} < {path.name for path in tmp_path.glob("*.png")}
    again, _ = run("run", "--resume", "--out", tmp_path)
    assert again.count("kept from before") == 4
    for wrong, said in (
        (['density="1e13 holes"'], "cannot be read"),
        (['density="1e13 cm^-2 holes"', "fermi_level=0.1"], "density beside fermi_level"),
        (["filled=1", "fermi_level=0.1"], "filled says from where"),
        (["field=[0,0,1]", "current=[0,0,1]"], "field beside current"),
        (["current=[0,0,1]", "fermi_level=-0.6"], "has 2 dimensions"),
    ):
        settings = [part for setting in wrong for part in ("--set", setting)]
        _, error = run("run", "haldane", *QUICK, *settings, code=1)
        assert said in error and error.count("\n") == 1


def test_magnetization_of_a_current():
    options = ["run", "tellurium", *QUICK, "--set", "spin=true", "--set", "current=[0.0, 0.0, 1e6]"]
    text, _ = run(*options)
    surface = jk.fermi_surface(jk.models.get("tellurium", spin=True), -0.02, sampler=jk.Lines(6), replicas=2)
    response = jk.gyrotropic_response(surface, jk.RelaxationTime(0.6, 200.0, 1.0), [0.0, 1.0])
    for one in (response, response.of_moment("spin")):
        made = one.magnetization_gauss(current=[0, 0, 1e6])["intrinsic"][0, 2].real
        assert with_uncertainty(float(made.mean), float(made.stderr)) in text
    assert "M for j = 1e+06 A/m²" in text


POINTS = [(kelvin, mu) for kelvin in (0, 300) for mu in (-1.5, -1.4)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "out"
    levels, kelvin = "fermi_level=[-1.5, -1.4]", "temperature=[0.0, 300.0]"
    arguments = ["run", "kramers-weyl-d4", "--set", levels, "--set", kelvin, *QUICK, "--out", path]
    path.with_suffix(".txt").write_text(run(*arguments)[0])
    return path


@pytest.fixture(scope="module")
def page():
    """What one point prints."""
    return run("run", "kramers-weyl-d4", "--set", "fermi_level=-1.5", *QUICK)[0]


def test_table_shows_uncertainties(page):
    assert "gyrotropic tensor, Im g_ab in S at 0 THz" in page
    assert "components not shown are forbidden by the point group" in page
    assert "(" in page.split("│ zz │")[1].split("│")[0]  # 0.0123(4)


def test_netcdf_is_labelled_and_complete(folder):
    data = ds.load(folder / "result.nc")
    assert data.g.dims == ("temperature", "fermi_level", "mechanism", "frequency", "a", "b")
    assert data.g.attrs["units"] == "S"
    assert data.fermi_level.values.tolist() == [-1.5, -1.4]
    assert np.iscomplexobj(data.g)
    assert {"jax_version", "jaxkin_version", "seed", "config", "verdict"} <= set(data.attrs)
    again = config.convert(tomllib.loads(data.attrs["config"]), None)
    assert numbers("fermi_level", again.surface.fermi_level).tolist() == [-1.5, -1.4]
    document = json.loads((folder / "result.json").read_text())
    assert len(document["points"]) == 4
    parts = np.array(document["points"][0]["g"]["total"])
    np.testing.assert_allclose(parts[..., 1], data.g.sel(mechanism="total").values.imag[0, 0], rtol=1e-12, atol=1e-25)


def test_saved_configuration_gives_the_same_result(folder):
    text, _ = run("run", folder / "config.toml", "--set", "fermi_level=-1.5", "--set", "temperature=0.0", "--json")
    first = json.loads((folder / "result.json").read_text())
    assert json.loads(text)["g"] == first["g"]


def test_pictures(folder):
    pytest.importorskip("matplotlib")
    (folder / "spectrum.png").unlink(missing_ok=True)
    run("plot", folder)
    for name in ("fermi_surface.png", "convergence.png"):
        assert (folder / name).stat().st_size > 10_000


def test_exports_of_a_result(folder, tmp_path):
    """From the file alone, but for energies, whose model its configuration makes again."""
    files = [tmp_path / f"fs{suffix}" for suffix in (".vtk", ".html", ".csv", ".bxsf")]
    printed, _ = run("plot", folder, *(word for file in files for word in ("--export", file)))
    assert printed.split() == list(map(str, files))
    data = ds.load(folder / "result.nc")
    assert f"POINTS {data.sizes['vertex']} double" in files[0].read_text()
    assert len(files[2].read_text().splitlines()) == data.sizes["point"] + 1
    assert "Fermi Energy: -1.5" in files[3].read_text()
    _, error = run("plot", folder, "--export", tmp_path / "fs.vtx", code=1)
    assert "no format '.vtx'" in error and error.count("\n") == 1
    _, error = run("plot", folder / "reslt.nc", code=1)
    assert "reslt.nc: no such file (did you mean 'result.nc'?)" in error


def test_a_misspelt_kind_of_impurity_is_noticed():
    for text, said in (('kind="pont"', "did you mean 'point'?"), ('kid="point"', "is 'kid' misspelt?")):
        impurity = f"disorder.impurities=[{{{text},strength=1.0,density=1.0,orbitals=[0]}}]"
        _, error = run("run", "kramers-weyl-d4", "--set", impurity, code=1)
        assert said in error and error.count("\n") == 1


def test_models_and_info():
    text, _ = run("models")
    for name in jk.models.available():
        assert name.split("-")[0] in text
    text, _ = run("info", "haldane-chiral")
    assert "D3, time reversal" in text
    assert "g_xx, g_yy, g_zz" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "telurium"], "no built-in model 'telurium' (did you mean 'tellurium'?)"),
        (["run", "--set", "fermi_levl=0.1"], "no key 'fermi_levl' (did you mean 'fermi_level'?)"),
        (["run", "--set", "n"], "write key=value"),
        (["run", "--set", "n='many'"], "expected `int`, got `str` at surface.n"),
        (["run", "--set", "tau=-1"], "tau=-1.0 must be a positive time in ps"),
        (["run", "haldane", "--set", "model.parameters.fluks=1"], "no parameter 'fluks' (did you mean 'flux'?)"),
        (["run", "missing.toml"], "missing.toml: no such file"),
        (["run", "missing_tb.dat"], "missing_tb.dat: no such file"),
        (["plot", "missing.nc"], "missing.nc: no such file"),
    ],
)
def test_errors_are_one_line(arguments, message):
    _, err = run(*arguments, code=1)
    assert message in err
    assert err.count("\n") == 1
    assert err.startswith("jaxkin: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[surface]\nfermilevel = 1\n", "unknown key 'fermilevel' in [surface] (did you mean 'fermi_level'?)"),
        ("[surfaces]\nn = 1\n", "unknown key 'surfaces' (did you mean 'surface'?)"),
        ("[surface\n", "case.toml: "),
        ("[surface]\nsampler = 'linse'\n", "nvalid enum value"),
    ],
)
def test_strict_toml(tmp_path, text, message):
    file = tmp_path / "case.toml"
    file.write_text(text)
    _, err = run("run", file, code=1)
    assert message in err
    assert err.count("\n") == 1


def test_wrong_stated_point_group_is_refused(tmp_path):
    file = tmp_path / "case.toml"
    file.write_text("[model]\nname = 'kramers-weyl-d3'\npoint_group = 'D6'\n[surface]\nfermi_level = -1.3\n")
    _, err = run("run", file, code=1)
    assert "is not a symmetry of H(k)" in err
    assert "H(k) has point group D3" in err


def test_ranges_and_nested_settings():
    loaded = config.load(
        "kramers-weyl-d4", ["frequency={start = 0.1, stop = 10.0, count = 3, spacing = 'log'}", "hopping=0.3"]
    )
    np.testing.assert_allclose(numbers("frequency", loaded.response.frequency), [0.1, 1.0, 10.0])
    assert loaded.model.parameters == {"hopping": 0.3}
    assert config.load(None, []).model.name == "tellurium"


def test_configuration_round_trip():
    loaded = config.load("weyl", ["inversion=false", "rtol=1e-3"])
    assert config.convert(tomllib.loads(config.as_toml(loaded)), None) == loaded


def test_module_is_runnable():
    done = subprocess.run([sys.executable, "-m", "jaxkin", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == jk.__version__


@pytest.mark.parametrize(
    ("mean", "stderr", "text"),
    [
        (0.0123456, 0.0004, "0.0123(4)"),
        (123456.0, 30.0, "1.2346(3)e+05"),
        (1.0, 0.0149, "1.000(15)"),
        (-2.5e-9, 1e-10, "-2.50(10)e-09"),
        (3.0, float("nan"), "3(?)"),
        (float("nan"), 1.0, "nan"),
    ],
)
def test_uncertainty(mean, stderr, text):
    assert with_uncertainty(mean, stderr) == text


def test_impurities_from_a_configuration(tmp_path):
    """[[disorder.impurities]] and the exact solver; the configuration written out reads back to itself."""
    file = tmp_path / "study.toml"
    file.write_text(
        """
[model]
name = "kramers-weyl-d4"
[surface]
fermi_level = -1.2
n = 7
replicas = 2
[[disorder.impurities]]
kind = "point"
strength = 0.8
density = 0.01
orbitals = [0, 1, 0, 1]
cells = [[0, 0, 0], [0, 0, 0], [1, 0, 0], [1, 0, 0]]
order = "third"
[[disorder.impurities]]
kind = "point"
strength = 0.8
density = 0.01
orbitals = [0]
symmetrized = true
order = "born"
[response]
solver = "exact"
frequency = [0.0, 1.0]
"""
    )
    asked = config.load(str(file), [])
    again = tmp_path / "again.toml"
    again.write_text(config.as_toml(asked))
    assert config.load(str(again), []) == asked
    points = []
    study.run(study.prepare(asked), lambda done, total, what: None, points.append)
    response = points[0].response
    assert response.solver == "exact"
    assert response.quality.residual < 1e-9
    assert np.abs(response.g["skew"].mean).max() > 0


def test_phonons_from_a_configuration(tmp_path):
    """[[disorder.phonons]] beside times; written out, it reads back to itself."""
    file = tmp_path / "study.toml"
    file.write_text(
        """
[model]
name = "kramers-weyl-d4"
[surface]
fermi_level = -1.2
n = 4
replicas = 2
[disorder]
tau = 0.8
[[disorder.phonons]]
kind = "rate"
tau = 0.5
temperature = 300.0
[[disorder.phonons]]
kind = "acoustic"
deformation_potential = 1e-3
mass_density = 6e3
sound_velocity = 3e3
temperature = 300.0
[response]
frequency = [0.0]
"""
    )
    asked = config.load(str(file), [])
    again = tmp_path / "again.toml"
    again.write_text(config.as_toml(asked))
    assert config.load(str(again), []) == asked
    points = []
    study.run(study.prepare(asked), lambda done, total, what: None, points.append)
    np.testing.assert_allclose(points[0].response.tau.mean, 1 / (1 / 0.8 + 1 / 0.5), rtol=1e-3)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('kind = "rate"', "needs tau, in ps at the reference temperature"),
        ('kind = "rate"\ntau = 1.0\nexponnent = 2.0', "[[disorder.phonons]] number 1 (kind = 'rate') (did you mean"),
        ('kind = "acustic"', "(did you mean 'acoustic'?)"),
        ('kind = "polar"\nenergy = 0.01\ndielectric = 9.0\nstatic_dielectric = 5.0', "static_dielectric=5"),
        ('kind = "rate"\ntau = -1.0', "tau=-1"),
    ],
)
def test_each_kind_of_phonons_has_its_own_keys(tmp_path, table, message):
    file = tmp_path / "study.toml"
    file.write_text(f"[[disorder.phonons]]\n{table}\n")
    with pytest.raises(jk.JaxkinError) as caught:
        study.prepare(config.load(str(file), []))
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            'kind = "point"\nstrength = 1.0\ndensity = 0.1',
            "(kind = 'point') needs orbitals, for example orbitals = [0, 1]",
        ),
        ('kind = "point"\nstrength = 1.0\ndensity = 0.1\norbitals = []', "kind = 'point' needs orbitals"),
        ('kind = "coulomb"\nstrength = 1.0\ndensity = 0.1', "needs dielectric, the relative permittivity of the host"),
        ('kind = "gaussian"\nstrength = 1.0\ndensity = 0.1', "needs width, in Å"),
        (
            'kind = "gaussian"\nstrength = 1.0\ndensity = 0.1\nwidth = 2.0\norbitals = [0]',
            "unknown key 'orbitals' in [[disorder.impurities]] number 1 (kind = 'gaussian')",
        ),
        ('kind = "coulomb"\nstrenght = 1.0\ndensity = 0.1\ndielectric = 9.0', "(did you mean 'strength'?)"),
        ('kind = "ionised"\ndielectric = 9.0', "needs charges, in |e|, for example charges = [-1, 2]"),
        ('kind = "ionised"\ncharges = [1]\nshares = [0.5, 0.5]\ndielectric = 9.0', "2 shares of 1 charges"),
        ('kind = "ionised"\ncharges = [1]\ndensity = 1e-6\ndielectric = 9.0', "unknown key 'density'"),
        ('kind = "gausian"\nstrength = 1.0\ndensity = 0.1', "(did you mean 'gaussian'?)"),
        ("strength = 1.0", "needs kind, 'point', 'gaussian', 'coulomb' or 'ionised'"),
        (
            'kind = "point"\nstrength = 1.0\ndensity = 0.1\norbitals = [0]\n[disorder]\ntau = 1.0\naxis = [0, 0, 1]',
            "[disorder]: tau, axis beside [[disorder.impurities]]",
        ),
    ],
)
def test_each_kind_of_impurity_has_its_own_keys(tmp_path, table, message):
    file = tmp_path / "study.toml"
    own, _, rest = table.partition("[disorder]\n")
    file.write_text(f"[disorder]\n{rest}\n[[disorder.impurities]]\n{own}\n")
    with pytest.raises(jk.ConfigError) as caught:
        study.prepare(config.load(str(file), []))
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.fixture
def wannier(tmp_path, shared_data):
    file = tmp_path / "GaAs_tb.dat.gz"
    file.write_bytes((shared_data / "GaAs_tb.dat.gz").read_bytes())
    return file


ASKED = ["fermi_level", "tau", "tau_skew", "side_jump"]


@pytest.mark.parametrize("given", [[], ["fermi_level=6.0"], ["tau=1.0", "tau_skew=inf", "side_jump=0"]])
def test_nothing_is_assumed_of_a_material(wannier, given):
    _, error = run("run", wannier, *[part for one in given for part in ("--set", one)], code=1)
    missing = [key for key in ASKED if not any(one.startswith(f"{key}=") for one in given)]
    assert error.startswith("jaxkin: GaAs_tb.dat.gz: nothing is assumed of your material; give ")
    assert [key for key in ASKED if f"{key} (" in error] == missing and error.count("\n") == 1


def test_a_wannier_file_is_found_from_anywhere(wannier, tmp_path, monkeypatch):
    """The configuration that is written holds its absolute path; a misspelt file's name has a suggestion."""
    settings = [f"{key}=1.0" for key in ASKED]
    monkeypatch.chdir(tmp_path)
    asked = completed(config.load(wannier.name, settings))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.toml").write_text(config.as_toml(asked))
    monkeypatch.chdir("/")
    assert config.load(str(tmp_path / "out" / "config.toml"), []) == asked
    _, error = run("run", tmp_path / "GaAs_tb.dt.gz", code=1)
    assert "no such file (did you mean 'GaAs_tb.dat.gz'?)" in error


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([], {"sampler": "auto", "rtol": 1e-2, "n": None}),
        (["rtol=1e-3"], {"sampler": "auto", "rtol": 1e-3}),
        (["replicas=1"], {"sampler": "auto", "rtol": None}),
        (["n=6"], {"sampler": "lines", "rtol": None, "n": 6, "power": 8.0}),
        (["width=0.1"], {"sampler": "grid", "n": 24, "smearing": "mp1"}),
        (["sampler=lines"], {"sampler": "lines", "n": 24}),
    ],
)
def test_the_sampler_is_the_librarys_choice_unless_one_is_named(settings, expected):
    done = completed(config.load("weyl", settings))
    assert {key: getattr(done.surface, key) for key in expected} == expected
    assert completed(done) == done
    assert config.convert(tomllib.loads(config.as_toml(done)), None) == done


@pytest.mark.parametrize(
    "settings", [["sampler=auto", "n=6"], ["sampler=lines", "width=0.1"], ["power=4", "width=0.1"]]
)
def test_keys_of_another_sampler_are_refused(settings):
    with pytest.raises(jk.ConfigError, match="is not a key of sampler"):
        completed(config.load("weyl", settings))


def test_a_run_says_what_was_chosen_and_why():
    text, _ = run(
        "run", "kramers-weyl-d4", "--set", "fermi_level=-1.5", "--set", "replicas=2", "--set", "frequency=0.0"
    )
    assert "chosen: Lines(n=32), as they are exact at T = 0; rtol = 0.01 met" in " ".join(text.split())


def test_a_scan_ends_with_one_table(folder):
    """And the largest component of g by mechanism; a point is one line."""
    text = folder.with_suffix(".txt").read_text()
    log, table, parts = re.split("scan at 0 THz, (?:M for E = 10000 V/m|Im g_xx in S)", text)
    places = [f"μ = {mu} eV, T = {kelvin} K" for kelvin, mu in POINTS]
    assert log.splitlines() == [f"{n} of 4: {place}" for n, place in enumerate(places, 1)]
    saved = ds.load(folder / "result.nc").isel(frequency=0, a=0, b=0)
    rows = [[cell.strip() for cell in line.split("│")[3:-1]] for line in parts.splitlines() if line.startswith("│")]
    for row, (kelvin, mu) in zip(rows, POINTS, strict=True):
        here = saved.sel(temperature=kelvin, fermi_level=mu, mechanism=saved.mechanism != "gaussian_skew")
        pairs = zip(here.g.values.imag.tolist(), here.g_stderr.values.imag.tolist(), strict=True)
        assert row == [with_uncertainty(*pair) for pair in pairs]
    assert [line.split("│")[1:3] for line in table.splitlines() if line.startswith("│")] == [
        [f"{mu:>7} ", f"{kelvin:>6} "] for kelvin, mu in POINTS
    ]
    assert "Im g_xx" in table and "electrons" in table and "…" not in table
    for name in ("scan.png", "scan_temperature.png"):
        assert (folder / name).stat().st_size > 10_000


def test_hall_conductivity_by_mechanism():
    """Haldane's model in its band: rows of σ_xy in place of a tensor that vanishes."""
    options = ("run", "haldane", "--set", "fermi_level=-1.5", *QUICK)
    text, _ = run(*options)
    row = text.split("Hall conductivity")[1].split("│ xy │")[1].splitlines()[0].split("│")
    document = json.loads(run(*options, "--json")[0])
    hall = np.array(document["sigma_mechanisms"]["intrinsic"])[0, :2, :2, 0]
    assert hall[0, 1] == -hall[1, 0] != 0
    assert float(row[0].split("(")[0] + "e" + row[0].split("e")[1]) == pytest.approx(hall[0, 1], rel=0.02)
    assert "gyrotropic tensor: zero" in text


def test_a_scan_shows_the_hall_part():
    """Of Haldane's model: e²/h in its gap, and what the band's own table says; g of a layer in S m."""
    text, _ = run("run", "haldane", "--set", "fermi_level=[-0.02, -1.5]", *QUICK)
    table = text.split("scan at 0 THz")[1]
    gap, band = ([cell.strip() for cell in line.split("│")] for line in table.splitlines() if line.startswith("│"))
    assert "Hall σ_xy" in table and float(gap[-2].split("(")[0] + "e-05") == pytest.approx(3.874046e-5, rel=1e-4)
    alone, _ = run("run", "haldane", "--set", "fermi_level=-1.5", *QUICK)
    assert band[-2] == alone.split("│ xy │")[1].splitlines()[0].split("│")[-2].strip()
    flat, _ = run("run", "massive-dirac-2d", "--set", "fermi_level=0.3", *QUICK, "--set", "hall=false")
    assert "Im g_ab in S m at 0 THz" in flat and "Im Tr g (S m)" in flat


def test_a_scan_of_the_quantum_solver_is_drawn(tmp_path):
    """With units, and what it says of its errors; one level in the same folder leaves no picture of the scan."""
    impurity = 'disorder.impurities=[{kind="point",strength=1.0,density=1.0,orbitals=[0,1],order="born"}]'
    options = ["run", "haldane", "--set", "solver=quantum", "--set", "grid=6", "--set", "sea=false", "--set", impurity]
    options += ["--set", "replicas=2", "--set", "frequency=[0.0]", "--out", tmp_path]
    text, _ = run(*options, "--set", "fermi_level=[-1.5,-1.4]")
    assert "(S m)" in text.split("scan at 0 THz")[1]
    saved = ds.load(tmp_path / "result.nc")
    assert (saved.g.attrs["units"], saved.sigma.attrs["units"]) == ("S m", "S")
    assert saved.residual.shape == (2,) and float(saved.residual.max()) < 1e-6
    assert (tmp_path / "scan.png").stat().st_size > 10_000
    run(*options, "--set", "fermi_level=-1.5")
    assert not (tmp_path / "scan.png").exists()


@pytest.mark.parametrize("command", ["info", "plot"])
def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, folder, command):
    (tmp_path / "file").touch()
    source = "weyl" if command == "info" else folder
    _, error = run(command, source, "--out", tmp_path / "file" / "x", code=1)
    assert "file/x: cannot be written to" in error and error.count("\n") == 1


def test_a_full_output_is_one_line():
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    done = subprocess.run(
        f"{sys.executable} -m jaxkin models > /dev/full", shell=True, stderr=subprocess.PIPE, text=True
    )
    assert (done.returncode, done.stderr) == (1, "jaxkin: standard output: No space left on device.\n")


def test_quantum_runs_in_one_process():
    _, error = run("run", "kramers-weyl-o", "--set", "solver=quantum", "--processes", "2", code=1)
    assert "--processes 2: solver = 'quantum' runs in one process" in error and error.count("\n") == 1


def test_the_intrinsic_hall_part_can_be_left_out_and_time_reversal_is_stated():
    """Its error is in the files where it is computed."""
    options = ("run", "haldane", "--set", "fermi_level=-1.5", *QUICK, "--json")
    whole, without = (json.loads(run(*options, *more)[0]) for more in ((), ("--set", "hall=false")))
    assert "intrinsic" in whole["sigma_mechanisms"] and "intrinsic" not in without["sigma_mechanisms"]
    assert np.array(whole["sigma_mechanisms_stderr"]["intrinsic"])[0, 0, 1, 0] > 0
    assert whole["time_reversal"].startswith("broken: energies differ by 0.2 eV")
    assert without["time_reversal"] == "not looked at"


def test_the_distance_at_which_bands_are_one_set_is_stated(folder, page):
    assert "bands closer than 1 meV count as one set" in page
    assert ds.load(folder / "result.nc").attrs["degeneracy_eV"] == 1e-3


def test_a_scan_with_impurities_goes_on_past_a_gap():
    """Below all bands, in the gap, in a band."""
    impurity = 'disorder.impurities=[{kind="coulomb",strength=1.0,density=1e-3,dielectric=10.0}]'
    levels = ["--set", "fermi_level=[-50.0, 0.0, -2.0]", "--set", impurity, *QUICK]
    found = json.loads(run("run", "haldane", *levels, "--json")[0])["points"]
    assert [point["fermi_level"] for point in found] == [-50.0, 0.0, -2.0]
    assert [np.array(point["sigma"])[0, 0, 0, 0] > 0 for point in found] == [False, False, True]
    for point in found[:2]:
        assert not np.any(point["sigma_mechanisms"]["drude"]) and not np.any(point["g"]["total"])
    assert ["lies in a gap or outside the bands" in " ".join(point["warnings"]) for point in found] == [
        True,
        True,
        False,
    ]


def test_the_memory_of_the_command_holds_for_lines():
    """8.8 GiB of points, refused before they are made."""
    settings = ["--memory", "500MB", "--set", "n=4000", "--set", "replicas=1"]
    _, error = run("run", "tellurium", *settings, code=1)
    assert "the memory budget is 477 MiB: raise it, or ask for a smaller n" in error and error.count("\n") == 1
