"""Model, sampler and disorder that a configuration describes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from jaxkin import models
from jaxkin.checks import cartesian, check_count
from jaxkin.cli.config import DisorderConfig, ModelConfig, ResourcesConfig, ResponseConfig, SurfaceConfig
from jaxkin.disorder import Disorder, Mixture, RelaxationTime
from jaxkin.errors import ConfigError, nearest_file
from jaxkin.hamiltonian import BlochModel, Structure, read_tbmodels, read_wannier90
from jaxkin.hamiltonian.tbmodels import SUFFIXES
from jaxkin.hamiltonian.wannier90 import NAME
from jaxkin.memory import memory_limit
from jaxkin.surface import Grid, Lines


def build_model(config: ModelConfig) -> BlochModel:
    """The Hamiltonian that the configuration names."""
    if config.file is None:
        return models.get(config.name, **config.parameters)
    check_file(config)
    if Path(config.file).suffix in SUFFIXES:
        beside = [key for key in ("lattice", "positions", "minimal_distance") if getattr(config, key) is not None]
        if beside or config.position_matrices is not None:
            which = beside[0] if beside else "position_matrices"
            raise ConfigError(f"{config.file}: {which} is a key of Wannier90 files, not of TBmodels.")
        return read_tbmodels(config.file, point_group=config.point_group)
    return read_wannier90(
        config.file,
        lattice=config.lattice,
        positions=config.positions,
        position_matrices=config.position_matrices,
        point_group=config.point_group,
        minimal_distance=config.minimal_distance,
    )


def structure_beside(config: ModelConfig) -> Structure | None:
    """The atoms in ``seed.win`` next to a Wannier90 file, if it is there and lists them."""
    file = Path(config.file or ".")
    named = NAME.fullmatch(file.name)
    win = file.parent / f"{named[1]}.win" if named else None
    return Structure.from_win(win) if win is not None and win.exists() else None


def check_file(config: ModelConfig) -> None:
    """Refuse a file that is not there, with the name of the nearest that is."""
    file = Path(config.file or ".")
    if not file.exists():
        raise ConfigError(f"{file}: no such file{nearest_file(file)}.")


def memory(config: ResourcesConfig) -> AbstractContextManager[None]:
    """The context in which the configured memory budget holds."""
    return nullcontext() if config.memory is None else memory_limit(config.memory)


def build_sampler(config: SurfaceConfig) -> Lines | Grid | None:
    """The sampler of the Fermi surface, None for the library's choice; what it refuses is reported under [surface]."""
    try:
        if config.sampler == "lines":
            return Lines(**_given(n=config.n, power=config.power))
        if config.sampler == "grid":
            return Grid(**_given(n=config.n, smearing=config.smearing, width=config.width))
    except ValueError as error:
        raise ConfigError(f"[surface]: {error}") from error
    return None


def _given(**values):
    return {name: value for name, value in values.items() if value is not None}


def check_response(config: ResponseConfig) -> None:
    """Refuse, before anything is computed, what could not be used in the end."""
    cartesian(config.field or config.current, "current" if config.field is None else "field")
    cartesian(config.optic_axis, "optic_axis")
    check_count("hall_budget", config.hall_budget)


def build_disorder(config: DisorderConfig, model: BlochModel) -> Disorder:
    """The sum of the configured impurities, or the relaxation-time disorder where there are none, and of phonons."""
    parts = [one.build(model) for one in config.impurities]
    if not parts:
        assert config.tau is not None and config.side_jump is not None  # jaxkin.cli.defaults
        assert config.axis is not None and config.direction is not None
        parts = [RelaxationTime(config.tau, config.tau_skew, config.side_jump, config.axis, config.direction)]
    parts += [one.build() for one in config.phonons]
    return parts[0] if len(parts) == 1 else Mixture(tuple(parts))
