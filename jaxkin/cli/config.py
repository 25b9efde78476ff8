"""The TOML configuration: strict, with defaults that describe the main job on tellurium."""

from __future__ import annotations

import re
import tomllib
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from jaxkin import models
from jaxkin.checks import MOST_VALUES, cartesian, check_count, check_number
from jaxkin.checks import numbers as finite
from jaxkin.disorder import (
    Disorder,
    FiniteRangeImpurity,
    Gaussian,
    Mixture,
    PointImpurity,
    RelaxationTime,
    ScreenedCoulomb,
)
from jaxkin.errors import ConfigError, nearest
from jaxkin.hamiltonian import BlochModel, read_wannier90
from jaxkin.hamiltonian.eigensystem import DEGENERACY
from jaxkin.hamiltonian.wannier90 import NAME
from jaxkin.memory import memory_limit
from jaxkin.response.conductivity import HALL_BUDGET
from jaxkin.surface import Grid, Lines

Vector = tuple[float, float, float]
Floats = float | list[float]


class Section(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A table of the configuration; unknown keys are errors."""


class Range(Section, frozen=True):
    """``count`` values from ``start`` to ``stop``, both included."""

    start: float
    stop: float
    count: int
    spacing: Literal["linear", "log"] = "linear"

    def values(self, key: str) -> np.ndarray:
        check_count(f"{key}: count", self.count, most=MOST_VALUES)
        check_number(f"{key}: start", self.start, "a finite number")
        check_number(f"{key}: stop", self.stop, "a finite number")
        if self.spacing == "log":
            if self.start <= 0 or self.stop <= 0:
                raise ConfigError(f"{key}: a range with log spacing needs positive start and stop.")
            return np.geomspace(self.start, self.stop, self.count)
        return np.linspace(self.start, self.stop, self.count)


class ModelConfig(Section, frozen=True):
    """Which Hamiltonian: a built-in ``name`` with ``parameters``, or a Wannier90 ``file``."""

    name: str = "tellurium"
    parameters: dict[str, Any] = {}
    file: str | None = None
    position_matrices: bool = False
    lattice: list[Vector] | None = None
    positions: list[Vector] | None = None
    point_group: str | None = None
    minimal_distance: bool | None = None


class SurfaceConfig(Section, frozen=True):
    """Where on the energy axis, and how finely."""

    fermi_level: Floats | Range = -0.02
    temperature: Floats | Range = 0.0
    sampler: Literal["lines", "grid"] = "lines"
    n: int = 24
    power: float = 8
    smearing: str = "mp1"
    width: float | None = None
    replicas: int = 8
    seed: int = 0
    smallest_pocket: float | None = None
    degeneracy: float = DEGENERACY
    rtol: float | None = None
    budget: int = 5_000_000


class ImpurityConfig(Section, frozen=True):
    """One kind of impurity; ``density`` per Å^d.

    ``point``: ``strength`` in eV on ``orbitals`` (one list, or one for each equivalent site; with
    ``symmetrized`` the model's symmetry adds the partners), ``cells`` the cell of each for a cluster;
    ``gaussian``: ``strength`` in eV Å^d and ``width`` in Å; ``coulomb``: ``strength`` is the charge,
    screened with ``length`` (Å, Thomas-Fermi if left out), ``dielectric`` and ``core`` (Å).
    """

    kind: Literal["point", "gaussian", "coulomb"]
    strength: float
    density: float
    order: Literal["born", "third", "tmatrix"] = "tmatrix"
    orbitals: list[int | list[int]] = []
    symmetrized: bool = False
    cells: list[list[int]] | None = None
    positions: list[Vector] = []
    width: float = 5.0
    dielectric: float = 10.0
    length: float | None = None
    core: float = 1.0


class DisorderConfig(Section, frozen=True):
    """Phenomenological disorder, times in ps, side_jump in Å; or a list of ``impurities`` in its place."""

    impurities: list[ImpurityConfig] = []

    tau: float = 0.6
    tau_skew: float | None = 200.0
    side_jump: float = 1.0
    axis: Vector = (0.0, 0.0, 1.0)
    direction: Literal["velocity", "momentum"] = "velocity"


def _default_frequencies() -> list[float]:
    return [0.0, *(float(f) for f in np.geomspace(0.01, 100, 25).round(6))]


class ResponseConfig(Section, frozen=True):
    """What to compute: frequencies f = ω/2π in THz, a field in V/m, the optic axis; and how.

    ``hall``: the intrinsic Hall conductivity too, where time reversal is broken, with ``hall_budget`` diagonalisations.
    """

    solver: Literal["rta", "exact", "quantum"] = "rta"
    skew_order: Literal["first", "all"] = "first"
    theory: Literal["complete", "paper"] = "complete"
    frequency: Floats | Range = msgspec.field(default_factory=_default_frequencies)
    field: Vector = (0.0, 0.0, 1e4)
    optic_axis: Vector = (0.0, 0.0, 1.0)
    hall: bool = True
    hall_budget: int = HALL_BUDGET


class QuantumConfig(Section, frozen=True):
    """Of ``solver = "quantum"``, as for :func:`jaxkin.quantum.gyrotropic`; points of k along each reciprocal vector."""

    grid: int = 48
    bands: Literal["bare", "dressed"] = "bare"
    sea: bool = True


class ResourcesConfig(Section, frozen=True):
    """What the run may take: ``memory`` in bytes, or as text such as "2GiB"; half of the machine's if left out."""

    memory: str | float | None = None


class Config(Section, frozen=True):
    """The whole configuration."""

    model: ModelConfig = ModelConfig()
    surface: SurfaceConfig = SurfaceConfig()
    disorder: DisorderConfig = DisorderConfig()
    response: ResponseConfig = ResponseConfig()
    quantum: QuantumConfig = QuantumConfig()
    resources: ResourcesConfig = ResourcesConfig()


def load(source: str | None, settings: list[str]) -> Config:
    """Configuration from a model's name, a Wannier90 file or a TOML file, with ``key=value`` settings on top.

    Raises:
        ConfigError: unknown key (names the nearest valid one), wrong type, unreadable file.
    """
    tree: dict[str, Any] = {}
    if source is None:
        pass
    elif source.endswith(".toml"):
        tree = parse_file(Path(source))
    elif NAME.fullmatch(Path(source).name.removesuffix(".gz")):
        tree = {"model": {"file": source}}
    else:
        models.builder(source)  # raises with the nearest name
        tree = {"model": {"name": source}}
    for setting in settings:
        _apply(tree, setting)
    return convert(tree, source)


def parse_file(path: Path) -> dict[str, Any]:
    """The tables of a TOML file, with paths relative to it resolved.

    Raises:
        ConfigError: no such file, or not TOML.
    """
    try:
        tree = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}.") from error
    file = tree.get("model", {}).get("file") if isinstance(tree.get("model"), dict) else None
    if isinstance(file, str):
        tree["model"]["file"] = str(path.parent / file)  # relative to the configuration
    return tree


_SECTIONS = {
    "model": ModelConfig,
    "surface": SurfaceConfig,
    "disorder": DisorderConfig,
    "response": ResponseConfig,
    "quantum": QuantumConfig,
    "resources": ResourcesConfig,
}


def _keys() -> dict[str, str]:
    """Every valid key, dotted and bare, to its dotted form."""
    dotted = [f"{section}.{key}" for section, kind in _SECTIONS.items() for key in kind.__struct_fields__]
    bare = [key.split(".")[1] for key in dotted]
    unique = {key.split(".")[1]: key for key in dotted if bare.count(key.split(".")[1]) == 1}
    return unique | {key: key for key in dotted}


def _apply(tree: dict[str, Any], setting: str) -> None:
    """Put ``key=value`` into the tree; the value is TOML, or a plain string."""
    key, equals, text = setting.partition("=")
    key, text = key.strip(), text.strip()
    if not equals:
        raise ConfigError(f"--set {setting!r}: write key=value, for example --set surface.n=48.")
    keys = _keys()
    if key.startswith("model.parameters."):
        path = key.split(".", 2)
    elif key in keys:
        path = keys[key].split(".")
    elif key in _model_parameters(tree):
        path = ["model", "parameters", key]
    else:
        raise ConfigError(f"--set {setting!r}: no key {key!r}{nearest(key, [*keys, *_model_parameters(tree)])}.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
    tree[path[-1]] = value


def _model_parameters(tree: dict[str, Any]) -> list[str]:
    import inspect

    model = tree.get("model", {})
    if model.get("file"):
        return []
    return list(inspect.signature(models.builder(model.get("name", "tellurium"))).parameters)


def convert(tree: dict[str, Any], source: str | None) -> Config:
    """The configuration that parsed tables describe.

    Raises:
        ConfigError: unknown key (names the nearest valid one), wrong type.
    """
    where = source if source and source.endswith(".toml") else "configuration"
    try:
        return msgspec.convert(tree, Config)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at ")
        section = path.strip("`$.").split(".")[0].split("[")[0]
        unknown = re.search(r"unknown field `(.*)`", message)
        if unknown:
            kind = _SECTIONS.get(section, Config)
            choices = list(kind.__struct_fields__)
            place = f" in [{section}]" if section else ""
            raise ConfigError(
                f"{where}: unknown key {unknown[1]!r}{place}{nearest(unknown[1], choices)}; "
                f"valid keys: {', '.join(choices)}."
            ) from None
        raise ConfigError(
            f"{where}: {message[0].lower()}{message[1:]} at {path.strip('`$.') or 'the top level'}."
        ) from None


def numbers(key: str, value: Floats | Range) -> np.ndarray:
    """The scalar, list or range of a key as an array."""
    values = value.values(key) if isinstance(value, Range) else np.atleast_1d(finite(key, value, "finite numbers"))
    if not values.size:
        raise ConfigError(f"{key}: an empty list where at least one number is needed.")
    return values


def build_model(config: ModelConfig) -> BlochModel:
    """The Hamiltonian that the configuration names."""
    if config.file is None:
        return models.get(config.name, **config.parameters)
    return read_wannier90(
        config.file,
        lattice=config.lattice,
        positions=config.positions,
        position_matrices=config.position_matrices,
        point_group=config.point_group,
        minimal_distance=config.minimal_distance,
    )


def memory(config: ResourcesConfig) -> AbstractContextManager[None]:
    """The context in which the configured memory budget holds."""
    return nullcontext() if config.memory is None else memory_limit(config.memory)


def build_sampler(config: SurfaceConfig) -> Lines | Grid:
    """The sampler of the Fermi surface; a value it refuses is reported under [surface]."""
    try:
        if config.sampler == "lines":
            return Lines(n=config.n, power=config.power)
        return Grid(n=config.n, smearing=config.smearing, width=config.width)
    except ValueError as error:
        raise ConfigError(f"[surface]: {error}") from error


def check_response(config: ResponseConfig) -> None:
    """Refuse, before anything is computed, what could not be used in the end."""
    cartesian(config.field, "field")
    cartesian(config.optic_axis, "optic_axis")
    check_count("hall_budget", config.hall_budget)


def build_disorder(config: DisorderConfig, model: BlochModel) -> Disorder:
    """The sum of the configured impurities, or the relaxation-time disorder where there are none."""
    if not config.impurities:
        return RelaxationTime(config.tau, config.tau_skew, config.side_jump, config.axis, config.direction)
    parts = [_impurity(one, model) for one in config.impurities]
    return parts[0] if len(parts) == 1 else Mixture(tuple(parts))


def _impurity(config: ImpurityConfig, model: BlochModel) -> Disorder:
    if config.kind == "point":
        if not config.orbitals:
            raise ConfigError("[[disorder.impurities]]: kind = 'point' needs orbitals, for example orbitals = [0, 1].")
        orbitals: Any = config.orbitals
        point = PointImpurity(config.strength, orbitals, config.density, order=config.order, cells=config.cells)
        return point.symmetrized(model) if config.symmetrized else point
    shape = (
        Gaussian(config.width)
        if config.kind == "gaussian"
        else ScreenedCoulomb(config.dielectric, config.length, config.core)
    )
    return FiniteRangeImpurity(
        shape, config.strength, config.density, order=config.order, positions=config.positions or (0.0, 0.0, 0.0)
    )


def as_toml(config: Config) -> str:
    """The full configuration, defaults included, as TOML that reads back to itself."""
    lines = []
    for name in _SECTIONS:
        section = msgspec.to_builtins(getattr(config, name))
        lines.append(f"[{name}]")
        lines += [f"{key} = {_toml(value)}" for key, value in section.items() if value is not None]
        lines.append("")
    return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items() if item is not None) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return msgspec.json.encode(value).decode() if isinstance(value, str) else repr(value)
