"""What a configuration leaves open, filled in where there is a sensible value, and asked for where there is none."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from jaxkin.cli.config import Config, DisorderConfig, ModelConfig, ResponseConfig, SurfaceConfig
from jaxkin.cli.ingredients import check_file
from jaxkin.errors import ConfigError
from jaxkin.hamiltonian.checkpoint import companions

RTOL = 1e-2
"""Towards which the sampler is chosen and refined where neither it nor an accuracy is given."""
LINES = {"n": 24, "power": 8.0}
GRID = {"n": 24, "smearing": "mp1"}
FIELD = (0.0, 0.0, 1e4)
"""V/m, where neither a field nor a current is given."""
DEMONSTRATION = {"fermi_level": -0.02, "tau": 0.6, "tau_skew": 200.0, "side_jump": 1.0}
"""For built-in models: p-type tellurium as in the paper's estimates."""
UNITS = {
    "fermi_level": "eV",
    "tau": "transport time, ps",
    "tau_skew": "ps, inf for no skew scattering",
    "side_jump": "Å, 0 for none",
}
KINDS = {"n": ("lines", "grid"), "power": ("lines",), "smearing": ("grid",), "width": ("grid",)}
"""Samplers that have a key."""


def completed(config: Config) -> Config:
    """The configuration with everything in it that a run needs; it is its own completion.

    Raises:
        ConfigError: a material of the user's own without Fermi level or disorder, keys that do not go together.

    >>> from jaxkin.cli.config import load
    >>> completed(load("weyl", [])).disorder.tau
    0.6
    """
    disorder, surface = config.disorder, config.surface
    if disorder.impurities:
        _alone(disorder)
    else:
        disorder = _relaxation_time(disorder)
    wanted = {} if _by_density(surface) else {"fermi_level": surface.fermi_level}
    if not disorder.impurities:
        wanted |= {key: getattr(disorder, key) for key in ("tau", "tau_skew", "side_jump")}
    missing = [key for key, value in wanted.items() if value is None]
    check_file(config.model)
    model = _identified(config.model)
    if missing and config.model.file is not None:
        raise ConfigError(_question(config.model, missing))
    known = {key: DEMONSTRATION[key] for key in missing}
    level = known.pop("fermi_level", surface.fermi_level)
    return replace(
        config,
        model=model,
        surface=_sampled(replace(surface, fermi_level=level)),
        disorder=replace(disorder, **known),
        response=_driven(config.response),
    )


def _identified(model: ModelConfig) -> ModelConfig:
    """With the digest of its file and of those that are read with it, so that a result knows which it is of."""
    if model.file is None:
        return model
    path, digest = Path(model.file), hashlib.sha256()
    try:
        for part in (path, *companions(path).values()):
            with part.open("rb") as file:
                hashlib.file_digest(file, lambda: digest)
    except OSError as error:
        raise ConfigError(f"{model.file}: {error.strerror}.") from error
    found = digest.hexdigest()
    if model.sha256 not in (None, "", found):
        raise ConfigError(
            f"{model.file}: is not the file of model.sha256 = {model.sha256[:12]}..., which this is computed from; "
            "put that back, or take the new one with --set 'sha256=\"\"'."
        )
    return replace(model, sha256=found)


def _driven(response: ResponseConfig) -> ResponseConfig:
    if response.field is not None and response.current is not None:
        raise ConfigError("[response]: field beside current; the magnetization is of one, leave the other out.")
    return response if response.current is not None else replace(response, field=response.field or FIELD)


def _by_density(surface: SurfaceConfig) -> bool:
    """Whether densities of carriers make the levels."""
    if surface.density is not None and surface.fermi_level is not None:
        raise ConfigError("[surface]: density beside fermi_level; a density makes its level, leave one of the two out.")
    if surface.density is None and surface.filled is not None:
        raise ConfigError("[surface]: filled says from where a density counts; give density, or leave it out.")
    return surface.density is not None


def _alone(disorder: DisorderConfig) -> None:
    times = [key for key in disorder.__struct_fields__ if key not in ("impurities", "phonons")]
    beside = [key for key in times if getattr(disorder, key) is not None]
    if beside:
        raise ConfigError(
            f"[disorder]: {', '.join(beside)} beside [[disorder.impurities]], which determine scattering themselves; "
            "leave one of the two out."
        )


def _relaxation_time(disorder: DisorderConfig) -> DisorderConfig:
    return replace(disorder, axis=disorder.axis or (0.0, 0.0, 1.0), direction=disorder.direction or "velocity")


def _question(model: ModelConfig, missing: list[str]) -> str:
    keys = [f"{key} ({UNITS[key]})" for key in missing]
    which = "--set fermi_level=..." if missing == ["fermi_level"] else "--set key=value"
    instead = "" if missing == ["fermi_level"] else ", or [[disorder.impurities]] in place of times and side jump"
    return (
        f"{Path(str(model.file)).name}: nothing is assumed of your material; give {', '.join(keys)}: {which}{instead}."
    )


def _sampled(surface: SurfaceConfig) -> SurfaceConfig:
    given = {key for key in KINDS if getattr(surface, key) is not None}
    sampler = surface.sampler
    if sampler is None:  # a key that only one of them has says which; n alone is that of lines
        sampler = "grid" if given & {"smearing", "width"} else "lines" if given else "auto"
    for key in sorted(given):
        if sampler not in KINDS[key]:
            raise ConfigError(
                f"[surface]: {key} is not a key of sampler = {sampler!r}; it belongs to {_or(KINDS[key])}."
            )
    filled: dict[str, Any] = {"lines": LINES, "grid": GRID}.get(sampler, {})
    filled = {key: value for key, value in filled.items() if getattr(surface, key) is None}
    if sampler == "auto" and surface.rtol is None and surface.replicas > 1:
        filled["rtol"] = RTOL
    return replace(surface, sampler=sampler, **filled)


def _or(names: tuple[str, ...]) -> str:
    return " or ".join(repr(name) for name in names)
