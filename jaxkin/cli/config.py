"""The TOML configuration: strict, from a model's name, a file, and settings on top."""

from __future__ import annotations

import inspect
import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from jaxkin import models
from jaxkin.cli.impurities import Impurity
from jaxkin.cli.phonons import Phonon
from jaxkin.cli.refusal import refusal
from jaxkin.cli.section import Floats, Range, Section, Vector
from jaxkin.errors import ConfigError, in_one_line, nearest, nearest_file
from jaxkin.hamiltonian.eigensystem import DEGENERACY
from jaxkin.hamiltonian.wannier90 import NAME
from jaxkin.response.conductivity import HALL_BUDGET


class ModelConfig(Section, frozen=True):
    """Which Hamiltonian: a built-in ``name`` with ``parameters``, or a Wannier90 ``file``."""

    name: str = "tellurium"
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)
    file: str | None = None
    sha256: str | None = None
    position_matrices: bool | None = None
    lattice: list[Vector] | None = None
    positions: list[Vector] | None = None
    point_group: str | None = None
    minimal_distance: bool | None = None


class SurfaceConfig(Section, frozen=True):
    """Where on the energy axis, and how finely; what is left open is filled in by :mod:`jaxkin.cli.defaults`."""

    fermi_level: Floats | Range | None = None
    density: str | list[str] | None = None
    filled: int | None = None
    temperature: Floats | Range = 0.0
    sampler: Literal["auto", "lines", "grid"] | None = None
    n: int | None = None
    power: float | None = None
    smearing: str | None = None
    width: float | None = None
    replicas: int = 8
    seed: int = 0
    smallest_pocket: float | None = None
    degeneracy: float = DEGENERACY
    rtol: float | None = None
    budget: int = 5_000_000


class DisorderConfig(Section, frozen=True):
    """Phenomenological disorder, times in ps, side_jump in Å; or a list of ``impurities`` in its place; and phonons."""

    impurities: list[Impurity] = msgspec.field(default_factory=list)
    phonons: list[Phonon] = msgspec.field(default_factory=list)

    tau: float | None = None
    tau_skew: float | None = None
    side_jump: float | None = None
    axis: Vector | None = None
    direction: Literal["velocity", "momentum"] | None = None


def _default_frequencies() -> list[float]:
    return [0.0, *(float(f) for f in np.geomspace(0.01, 100, 25).round(6))]


class ResponseConfig(Section, frozen=True):
    """What to compute: frequencies f = ω/2π in THz, M of a field in V/m or a current in A/m², the optic axis; and how.

    ``hall``: the intrinsic Hall conductivity too, where time reversal is broken, with ``hall_budget`` diagonalisations.
    """

    solver: Literal["rta", "exact", "quantum"] = "rta"
    skew_order: Literal["first", "all"] = "first"
    theory: Literal["complete", "paper"] = "complete"
    frequency: Floats | Range = msgspec.field(default_factory=_default_frequencies)
    field: Vector | None = None
    current: Vector | None = None
    optic_axis: Vector = (0.0, 0.0, 1.0)
    hall: bool = True
    hall_budget: int = HALL_BUDGET


class QuantumConfig(Section, frozen=True):
    """Of ``solver = "quantum"``, as for :func:`jaxkin.quantum.gyrotropic`; points of k along each reciprocal vector."""

    grid: int | None = None
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

    >>> load("kramers-weyl-d4", ["n=6"]).surface.n
    6
    """
    tree: dict[str, Any] = {}
    if source is None:
        pass
    elif source.endswith(".toml"):
        tree = parse_file(Path(source))
    elif NAME.fullmatch(Path(source).name) or Path(source).is_file():
        tree = {"model": {"file": source}}
    elif source in models.available():
        tree = {"model": {"name": source}}
    else:
        raise ConfigError(_no_source(source))
    return convert(applied(tree, settings), source)


def _no_source(source: str) -> str:
    path = Path(source)
    if path.is_dir():
        return f"{source}: is a folder; give a Wannier90 or TOML file in it, or the name of a built-in model."
    if path.parent != Path() or path.suffix:
        return f"{source}: no such file{nearest_file(path)}."
    names = models.available()
    files = [one.name for one in Path().iterdir() if one.suffix == ".toml" or NAME.fullmatch(one.name)]
    return f"no built-in model {source!r}{nearest(source, [*names, *files])}; there are: {', '.join(names)}."


def applied(tree: dict[str, Any], settings: list[str]) -> dict[str, Any]:
    """The tables with ``key=value`` settings put in.

    Raises:
        ConfigError: no such key.
    """
    for setting in settings:
        _apply(tree, setting)
    return tree


def parse_file(path: Path) -> dict[str, Any]:
    """The tables of a TOML file, with paths relative to it resolved.

    Raises:
        ConfigError: no such file, or not TOML.
    """
    try:
        tree = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigError(_no_source(str(path))) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: {in_one_line(error)}.") from error
    file = tree.get("model", {}).get("file") if isinstance(tree.get("model"), dict) else None
    if isinstance(file, str):
        tree["model"]["file"] = str(path.parent / Path(file).expanduser())  # relative to the configuration
    return tree


SECTIONS = {
    "model": ModelConfig,
    "surface": SurfaceConfig,
    "disorder": DisorderConfig,
    "response": ResponseConfig,
    "quantum": QuantumConfig,
    "resources": ResourcesConfig,
}


def _keys() -> dict[str, str]:
    """Every valid key, dotted and bare, to its dotted form."""
    dotted = [f"{section}.{key}" for section, kind in SECTIONS.items() for key in kind.__struct_fields__]
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
    except (ValueError, RecursionError):
        value = text
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
    tree[path[-1]] = value


def _model_parameters(tree: dict[str, Any]) -> list[str]:
    model = tree.get("model", {})
    if model.get("file"):
        return []
    return list(inspect.signature(models.builder(model.get("name", "tellurium"))).parameters)


def convert(tree: dict[str, Any], source: str | None) -> Config:
    """The configuration that parsed tables describe.

    Raises:
        ConfigError: unknown key (names the nearest valid one), wrong type.
    """
    where = source if source and source.endswith((".toml", ".json", ".nc")) else "configuration"
    file = tree["model"].get("file") if isinstance(tree.get("model"), dict) else None
    if isinstance(file, str):  # so that what is written to a result's folder can be read from anywhere
        tree["model"]["file"] = str(Path(file).expanduser().absolute())
    try:
        return msgspec.convert(tree, Config)
    except msgspec.ValidationError as error:
        raise refusal(error, tree, Config, where) from None


def differing(one: Config, other: Config) -> list[str]:
    """Keys, dotted, whose values differ.

    >>> differing(load("weyl", ["n=6"]), load("weyl", ["n=8", "seed=1"]))
    ['surface.n', 'surface.seed']
    """
    pairs = [(_flat(getattr(one, name)), _flat(getattr(other, name)), name) for name in SECTIONS]
    return [f"{name}.{key}" for a, b, name in pairs for key in a if a[key] != b[key]]


def _flat(section: Section) -> dict[str, Any]:
    return msgspec.to_builtins(section)


def as_toml(config: Config) -> str:
    """The full configuration, defaults included, as TOML that reads back to itself."""
    lines = []
    for name in SECTIONS:
        section = _flat(getattr(config, name))
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
