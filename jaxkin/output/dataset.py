"""Responses as labelled ``xarray`` datasets, and as NetCDF files."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import jax
import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from jaxkin import __version__, units
from jaxkin.errors import FileFormatError, in_one_line, nearest_file
from jaxkin.estimate import Estimate
from jaxkin.output.drive import Drive
from jaxkin.output.folder import replace_file
from jaxkin.output.seal import sealed, unsealed
from jaxkin.response.conductivity import Conductivity
from jaxkin.response.gyrotropic import GyrotropicResponse
from jaxkin.surface.brillouin import folded, zone_edges
from jaxkin.surface.density import Density
from jaxkin.surface.mesh import Mesh, level_mesh
from jaxkin.surface.search import Pocket
from jaxkin.surface.surface import Surface

XYZ = ["x", "y", "z"]
SIGMA = ("drude", "intrinsic", "skew", "side_jump", "gaussian_skew", "total")
"""Mechanisms of the conductivity in the order of files."""
MOST_POINTS = 20_000
"""Surface points kept in a dataset, for pictures."""
MESH_ACROSS = 10
"""Cells across the pockets of a dataset's mesh."""
MOST_CELLS = 40_000
"""Cells of the search whose pockets are made a mesh of; the largest pocket always is."""
NEIGHBOURS = 10
"""Points that a vertex takes its skew acceleration from."""


def gyrotropic_dataset(response: GyrotropicResponse, axis: ArrayLike) -> xr.Dataset:
    """One response: dimensions mechanism, frequency and Cartesian a, b, c; complex in memory."""
    surface, d = response.surface, response.surface.model.dimension
    tensor = tensor_unit(d)
    names = list(response.g)

    def by_mechanism(each: dict[str, Estimate]) -> Estimate:
        return Estimate(np.stack([each[name].samples for name in names], axis=1))

    data: dict[str, tuple[Estimate, tuple[str, ...], str, str]] = {
        "g": (by_mechanism(response.g), ("mechanism", "frequency", "a", "b"), tensor, "gyrotropic tensor, Eq. (10)"),
        "lam": (
            by_mechanism(response.lam),
            ("mechanism", "frequency", "a", "b", "c"),
            tensor,
            "spatial dispersion of the conductivity, Eq. (70)",
        ),
        "chi": (
            by_mechanism(response.chi),
            ("mechanism", "frequency", "a", "b"),
            tensor,
            "kinetic magnetoelectric susceptibility, Eq. (86)",
        ),
        "rotatory_power": (
            by_mechanism(response.rotatory_power(axis)),
            ("mechanism", "frequency"),
            "rad/m",
            "rotation (real) and circular dichroism (imaginary) per length along optic_axis, Eq. (78)",
        ),
        "trace": (
            by_mechanism(response.trace()),
            ("mechanism", "frequency"),
            tensor,
            "Tr g, dynamic chiral magnetic effect",
        ),
        "tau": (response.tau, (), "ps", "transport time"),
        "density_of_states": (surface.density_of_states(), (), f"1/(eV A^{d})", "thermally averaged density of states"),
        **{
            name: (estimate * units.per_cm(d), (), f"cm^-{d}", f"density of {name}")
            for name, estimate in surface.carrier_density().items()
        },
    }
    dataset = xr.Dataset(
        coords={
            "mechanism": names,
            "frequency": ("frequency", response.frequency, {"units": "THz", "long_name": "f = omega/2pi"}),
            "a": XYZ,
            "b": XYZ,
            "c": XYZ,
        }
    )
    for name, (estimate, dims, unit, meaning) in data.items():
        dataset[name] = (dims, estimate.mean, {"units": unit, "long_name": meaning})
        dataset[f"{name}_stderr"] = (dims, estimate.stderr, {"units": unit, "long_name": f"standard error of {name}"})
    dataset["g_replicas"] = (
        ("replica", "mechanism", "frequency", "a", "b"),
        by_mechanism(response.g).samples,
        {"units": tensor, "long_name": "g of every replica"},
    )
    dataset["crossover_frequency"] = ((), response.crossover_frequency(), {"units": "THz"})
    dataset["flux_violation"] = ((), response.quality.flux, {"units": "1"})
    dataset["onsager_violation"] = ((), response.quality.onsager, {"units": "1"})
    dataset["continuity_violation"] = ((), response.quality.continuity, {"units": "1"})
    dataset["residual"] = ((), response.quality.residual, {"units": "1", "long_name": "of the linear solves"})
    largest = np.abs(response.g["total"].mean).max(initial=0.0)
    spread = np.abs(response.g["total"].stderr).max(initial=0.0) / largest if largest else np.nan
    dataset["relative_stderr"] = ((), spread, {"units": "1", "long_name": "largest of g, of the largest component"})
    dataset["surface_points"] = ((), len(surface), {"units": "1"})
    dataset["evaluations"] = ((), surface.evaluations, {"units": "1", "long_name": "H(k) diagonalised"})
    dataset = dataset.assign_coords(fermi_level=surface.fermi_level, temperature=surface.temperature)
    dataset["fermi_level"].attrs["units"], dataset["temperature"].attrs["units"] = "eV", "K"
    return dataset.assign_attrs(
        **versions(),
        seed=surface.seed,
        optic_axis=np.asarray(axis, float),
        replicas=surface.replicas,
        sampler=repr(surface.sampler),
        verdict=surface.verdict,
        degeneracy_eV=surface.degeneracy,
        solver=response.solver,
        left_out=" ".join(response.left_out),
        point_group=surface.model.point_group or "not stated",
        warnings="\n".join(response.warnings),
    )


def with_conductivity(dataset: xr.Dataset, conductivity: Conductivity) -> xr.Dataset:
    """``dataset`` with σ in all and by mechanism, the Hall parts among them."""
    names, unit = [name for name in SIGMA if name in conductivity.sigma], conductivity.unit
    total, dims = conductivity.sigma["total"], ("frequency", "a", "b")
    parts = [conductivity.sigma[name] for name in names]
    added = {
        "sigma": (dims, total.mean, {"units": unit, "long_name": "local conductivity"}),
        "sigma_stderr": (dims, total.stderr, {"units": unit, "long_name": "standard error of sigma"}),
        "sigma_parts": (
            ("sigma_mechanism", *dims),
            np.stack([part.mean for part in parts]),
            {"units": unit, "long_name": "local conductivity by mechanism"},
        ),
        "sigma_parts_stderr": (
            ("sigma_mechanism", *dims),
            np.stack([part.stderr for part in parts]),
            {"units": unit, "long_name": "standard error of sigma_parts"},
        ),
    }
    whole = dataset.assign(added).assign_coords(sigma_mechanism=names)
    return whole.assign_attrs(time_reversal=conductivity.time_reversal)


def surface_points(response: GyrotropicResponse) -> xr.Dataset:
    """Points of the first replica with velocity, moment and skew acceleration, for pictures."""
    surface = response.surface
    mine = np.flatnonzero(surface.replica == 0)
    mine = mine[:: max(1, -(-len(mine) // MOST_POINTS))]
    vectors = {
        "point_k": (_drawn_k(surface, mine), "1/A"),
        "point_velocity": (surface.velocity[mine], "eV A"),
        "point_moment": (surface.orbital_moment[mine], "mu_B"),
        "point_berry_curvature": (surface.berry_curvature[mine], "A^2"),
        "point_skew_acceleration": (response.skew_acceleration[mine], "eV A / ps"),
    }
    dataset = xr.Dataset(coords={"a": XYZ})
    for name, (values, unit) in vectors.items():
        dataset[name] = (("point", "a"), values, {"units": unit})
    dataset["point_pocket"] = (("point",), surface.pocket[mine], {"long_name": "pocket, largest first"})
    dataset["point_weight"] = (("point",), surface.weight[mine], {"units": f"1/(eV A^{surface.model.dimension})"})
    return dataset


def surface_mesh(response: GyrotropicResponse) -> xr.Dataset:
    """The surface as triangles (segments in 2D) in the first Brillouin zone, for pictures and files of other programs.

    At T > 0 that of μ, or, where μ lies in a gap, of the carriers' mean energy. Q is interpolated from the points.
    """
    surface = response.surface
    if surface.model.dimension == 1 or not len(surface):
        return xr.Dataset()
    level, pockets = float(surface.fermi_level), _few_pockets(surface)
    mesh = level_mesh(surface.model, level, pockets, float(surface.degeneracy), MESH_ACROSS)
    if not len(mesh.simplices):
        level = float(np.average(surface.energy, weights=surface.weight))
        mesh = level_mesh(surface.model, level, pockets, float(surface.degeneracy), MESH_ACROSS)
    skew = _nearest(surface, mesh, response.skew_acceleration)
    mesh = folded(replace(mesh, further={"skew_acceleration": skew}), surface.model, pockets)
    vectors = {
        "mesh_k": (mesh.vertices, "1/A"),
        "mesh_velocity": (mesh.velocity, "eV A"),
        "mesh_moment": (mesh.orbital_moment, "mu_B"),
        "mesh_berry_curvature": (mesh.berry_curvature, "A^2"),
        "mesh_skew_acceleration": (mesh.further["skew_acceleration"], "eV A / ps"),
    }
    dataset = xr.Dataset(coords={"a": XYZ})
    for name, (values, unit) in vectors.items():
        dataset[name] = (("vertex", "a"), values, {"units": unit})
    dataset["mesh_band"] = (("vertex",), mesh.band)
    dataset["mesh_pocket"] = (("vertex",), mesh.pocket, {"long_name": "pocket, largest first"})
    dataset["mesh_corners"] = (("simplex", "corner"), mesh.simplices, {"long_name": "vertices of a triangle"})
    dataset["mesh_k"].attrs |= {"energy_eV": level, "pockets_found": len(surface.pockets)}
    dataset["zone_edges"] = (("edge", "end", "a"), zone_edges(surface.model), {"units": "1/A"})
    return dataset


def mesh_of(dataset: xr.Dataset) -> Mesh | None:
    """The mesh of :func:`surface_mesh` in a dataset, with ``skew_acceleration`` in ``further``; None without one."""
    if not dataset.sizes.get("simplex"):
        return None
    names = ("k", "corners", "band", "pocket", "velocity", "berry_curvature", "moment", "skew_acceleration")
    k, corners, band, pocket, velocity, curvature, moment, skew = (dataset[f"mesh_{name}"].values for name in names)
    return Mesh(k, corners, k, band, pocket, velocity, curvature, moment, {"skew_acceleration": skew})


def _few_pockets(surface: Surface) -> tuple[Pocket, ...]:
    """The largest pockets, as many as can be drawn."""
    cells = np.cumsum([pocket.active.sum() for pocket in surface.pockets])
    return surface.pockets[: max(1, int(np.searchsorted(cells, MOST_CELLS, side="right")))]


def _nearest(surface: Surface, mesh: Mesh, values: np.ndarray) -> np.ndarray:
    """``values`` (N, 3) of the points of the first replica, between the nearest ones to each vertex, (V, 3)."""
    from scipy.spatial import KDTree

    found = np.zeros((len(mesh.vertices), 3))
    if not np.any(values):
        return found
    for pocket, band in np.unique(np.stack([mesh.pocket, mesh.band], axis=1), axis=0):
        points = np.flatnonzero((surface.pocket == pocket) & (surface.band == band) & (surface.replica == 0))
        here = (mesh.pocket == pocket) & (mesh.band == band)
        if len(points):
            tree = KDTree(np.asarray(surface.model.cartesian(surface.k[points])))
            distance, near = tree.query(mesh.vertices[here], k=min(NEIGHBOURS, len(points)))
            distance, near = (x.reshape(np.sum(here), -1) for x in (np.asarray(distance), np.asarray(near)))
            share = 1 / (distance**2 + np.mean(distance**2, axis=1, keepdims=True) + 1e-30)
            found[here] = np.einsum("vn,vna->va", share / share.sum(axis=1, keepdims=True), values[points[near]])
    return found


def _drawn_k(surface: Surface, mine: np.ndarray) -> np.ndarray:
    """Cartesian k in the first Brillouin zone: closed pockets are moved as a whole, others point by point."""
    model = surface.model
    k = np.asarray(model.cartesian(surface.k[mine]))
    if not model.periodic or not len(k):
        return k
    centres = np.array([pocket.origin + 0.5 * pocket.edges for pocket in surface.pockets])
    closed = np.array([pocket.closed.all() for pocket in surface.pockets])
    pocket = surface.pocket[mine]
    guide = np.where(closed[pocket, None], np.asarray(model.cartesian(centres))[pocket], k)
    steps = np.stack(np.meshgrid(*[(-2, -1, 0, 1)] * model.dimension, indexing="ij"), axis=-1)
    vectors = steps.reshape(-1, model.dimension) @ np.asarray(model.basis)
    nearest = np.argmin(((guide[:, None, :] + vectors) ** 2).sum(axis=-1), axis=1)
    return k + vectors[nearest]


def versions() -> dict[str, str]:
    """What computed the result."""
    return {
        "jaxkin_version": __version__,
        "jax_version": jax.__version__,
        "numpy_version": np.__version__,
        "python_version": platform.python_version(),
        "device": jax.devices()[0].device_kind,
    }


def tensor_unit(dimension: int) -> str:
    """Of g and χ: of a volume, and of a layer or a chain by length or area.

    >>> tensor_unit(3), tensor_unit(2), tensor_unit(1)
    ('S', 'S m', 'S m^2')
    """
    return {3: "S", 2: "S m", 1: "S m^2"}[dimension]


def complex_parts(values: ArrayLike) -> np.ndarray:
    """Complex (...) → real (..., 2), real part first, as files and JSON hold it.

    >>> complex_parts([1 + 2j]).tolist()
    [[1.0, 2.0]]
    """
    return np.stack([np.real(values), np.imag(values)], axis=-1)


def encode(dataset: xr.Dataset) -> bytes:
    """NetCDF; complex numbers become a last dimension ``part`` = (re, im), which every reader knows."""
    plain = _each(dataset, _split)
    if any(np.iscomplexobj(v) for v in dataset.values()):
        plain = plain.assign_coords(part=["re", "im"])
    plain.attrs = {key: value for key, value in dataset.attrs.items() if value is not None}
    return sealed(bytes(plain.to_netcdf(None, engine="h5netcdf")))


def save(dataset: xr.Dataset, path: Path) -> Path:
    """Write NetCDF, see :func:`encode`; the file is whole or as it was before.

    Raises:
        JaxkinError: it cannot be written.
    """
    return replace_file(path, encode(dataset))


def load(path: Path) -> xr.Dataset:
    """Read a ``result.nc``, complex numbers whole: docs/configuration.md, "NetCDF".

    Raises:
        FileFormatError: not such a file, or a damaged one.
    """
    try:
        data = unsealed(path.read_bytes())
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError):
            raise FileFormatError(f"{path}: no such file{nearest_file(path)}.") from error
        raise FileFormatError(f"{path}: not a NetCDF file of jaxkin ({in_one_line(error)}).") from error
    try:
        with xr.open_dataset(BytesIO(data), engine="h5netcdf") as opened:
            plain = opened.load()
        if "g" in plain:
            return _each(plain, _join).drop_vars("part", errors="ignore")
    except Exception as error:  # whatever HDF5 and its readers say of a file that is none
        raise FileFormatError(f"{path}: not a NetCDF file of jaxkin ({in_one_line(error)}).") from error
    raise FileFormatError(f"{path}: holds no gyrotropic tensor g; give a file that `jaxkin run` wrote.")


def _each(dataset: xr.Dataset, function: Callable[[xr.DataArray], xr.DataArray]) -> xr.Dataset:
    """Apply ``function`` to every data variable; coordinates and attributes stay."""
    coordinates = xr.Dataset(coords=dataset.coords, attrs=dataset.attrs)
    return coordinates.assign({name: function(variable).variable for name, variable in dataset.items()})


def _split(variable: xr.DataArray) -> xr.DataArray:
    if not np.iscomplexobj(variable):
        return variable
    return xr.DataArray(complex_parts(variable.values), dims=(*variable.dims, "part"), attrs=variable.attrs)


def _join(variable: xr.DataArray) -> xr.DataArray:
    if "part" not in variable.dims:
        return variable
    parts = np.ascontiguousarray(variable.sel(part=["re", "im"]).transpose(..., "part").values, float)
    values = parts.view(complex)[..., 0]  # every bit of both, also of zeros with a sign
    return xr.DataArray(values, dims=[dim for dim in variable.dims if dim != "part"], attrs=variable.attrs)


def with_magnetization(
    dataset: xr.Dataset, response: GyrotropicResponse, sigma: Conductivity, drive: Drive
) -> xr.Dataset:
    """``dataset`` with μ₀M along a field or current that drives it, and its part that is spin's."""
    dims, along = ("mechanism", "frequency"), drive.along(response, sigma)
    named = {
        "units": "G",
        "long_name": "mu_0 M along the drive",
        "drive": drive.label(response.surface.model.dimension),
    }
    parts = {"induced_field": Estimate(np.stack([along[name].samples for name in response.g], axis=1))}
    if response.surface.model.spin is not None:
        parts["induced_field_of_spin"] = drive.along(response.of_moment("spin"), sigma)["intrinsic"]
    for name, part in parts.items():
        dataset[name] = (dims[-part.mean.ndim :], part.mean, named)
        dataset[f"{name}_stderr"] = (dims[-part.mean.ndim :], part.stderr, {**named, "long_name": "its standard error"})
    return dataset


def with_density(dataset: xr.Dataset, density: Density | None) -> xr.Dataset:
    """``dataset`` with the density that made its Fermi level, if one did, as a coordinate in place of the level."""
    if density is None:
        return dataset
    named = {"units": f"cm^-{density.dimension}", "long_name": f"density of {density.carriers}, electrons - holes"}
    return dataset.reset_coords("fermi_level").assign_coords(density=((), density.per_cm, named))


def stack(datasets: list[list[xr.Dataset]]) -> xr.Dataset:
    """Join datasets [temperature][fermi_level or density] into one with these two dimensions."""
    return _joined([row(one) for one in datasets], "temperature").assign_attrs(datasets[0][0].attrs)


def row(datasets: Sequence[xr.Dataset]) -> xr.Dataset:
    """Join datasets of one temperature along the Fermi level, or the density that made it."""
    return _joined(datasets, "density" if "density" in datasets[0].coords else "fermi_level")


def _joined(datasets: Sequence[xr.Dataset], dim: str) -> xr.Dataset:
    concat: Callable = xr.concat
    options = {"combine_attrs": "override", "coords": "minimal", "compat": "override", "join": "outer"}
    return concat(datasets, dim=dim, data_vars="all", **options)
