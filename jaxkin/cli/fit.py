"""``jaxkin fit``: from a configuration with a [fit] section to parameters with errors, tables and pictures."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
from rich.text import Text

from jaxkin.cli import config as cfg
from jaxkin.cli import levels
from jaxkin.cli.defaults import completed
from jaxkin.cli.ingredients import build_disorder, build_model, build_sampler
from jaxkin.cli.page import Page
from jaxkin.cli.section import Section, Vector
from jaxkin.errors import AccuracyWarning, ConfigError, nearest, shortened
from jaxkin.fitting import (
    Data,
    FitProblem,
    FitResult,
    Parameter,
    Posterior,
    Table,
    fit,
    read_data,
    sample_posterior,
    tabulate,
    tabulate_window,
)
from jaxkin.fitting.store import finite, fit_document, posterior_document
from jaxkin.output import dataset as ds
from jaxkin.output.folder import replace_file
from jaxkin.surface import fermi_surface
from jaxkin.surface.plan import Progress


class ParameterConfig(Section, frozen=True):
    """One fitted parameter: see :class:`jaxkin.Parameter`."""

    start: float | None = None
    bounds: tuple[float, float] = (float("-inf"), float("inf"))
    prior: tuple[float, float] | None = None
    transform: Literal["linear", "log", "reciprocal"] | None = None


class DataConfig(Section, frozen=True):
    """A file of measured data, relative to the configuration, and the axis n they belong to."""

    file: str
    axis: Vector = (0.0, 0.0, 1.0)


class FitConfig(Section, frozen=True):
    """The section [fit]."""

    data: list[DataConfig]
    parameters: dict[str, ParameterConfig]
    fixed: dict[str, float] = msgspec.field(default_factory=dict)
    window: list[float] | None = None
    method: Literal["levenberg-marquardt", "adam"] | None = None
    starts: int | None = None
    seed: int = 0
    max_steps: int = 200
    profiles: list[str] = msgspec.field(default_factory=list)
    posterior: bool = False


class Outcome(NamedTuple):
    """What a run of ``jaxkin fit`` found, the configuration it had, and the warnings on the way."""

    result: FitResult
    wanted: FitConfig
    cautions: list[str]
    posterior: Posterior | None


def load(source: Path) -> tuple[cfg.Config, FitConfig]:
    """The whole configuration of a fit.

    Raises:
        ConfigError: no section [fit], an unknown key, a wrong type.
    """
    tree = cfg.parse_file(source)
    section = tree.pop("fit", None)
    if not isinstance(section, dict):
        raise ConfigError(f"{source}: has no section [fit]; it needs fit.parameters and [[fit.data]] with a file.")
    try:
        wanted = msgspec.convert(section, FitConfig)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at ")
        unknown = message.partition("unknown field `")[2].rstrip("`")
        keys = {k for kind in (FitConfig, ParameterConfig, DataConfig) for k in kind.__struct_fields__}
        hint = nearest(unknown, keys) if unknown else ""
        raise ConfigError(
            f"{source}: {message[0].lower()}{shortened(message[1:])}{hint} in [fit]{path.strip('`$')}."
        ) from None
    for key, value in _starts(wanted).items():  # a fitted or fixed parameter needs no other value
        place = tree.setdefault("surface" if key in ("fermi_level", "temperature") else "disorder", {})
        if isinstance(place, dict) and "impurities" not in place:
            place.setdefault(key, value)
    return completed(cfg.convert(tree, str(source))), wanted


def _starts(wanted: FitConfig) -> dict[str, float]:
    """Values that the section [fit] gives to keys of [surface] and [disorder]."""
    starts = {name: one.start for name, one in wanted.parameters.items() if one.start is not None}
    keys = ("fermi_level", "temperature", "tau", "tau_skew", "side_jump")
    return {key: value for key, value in (wanted.fixed | starts).items() if key in keys}


def make(config: cfg.Config, wanted: FitConfig, folder: Path, progress: Progress) -> tuple[FitProblem, list[Data]]:
    """Read the data first, as they are cheap, then compute the table."""
    data = [one for file in wanted.data for one in read_data(folder / file.file, file.axis)]
    parameters = [Parameter(name, p.start, p.bounds, p.prior, p.transform) for name, p in wanted.parameters.items()]
    return FitProblem(_table(config, wanted, progress), parameters, wanted.fixed), data


def _table(config: cfg.Config, wanted: FitConfig, progress: Progress) -> Table:
    c = config.surface
    model = build_model(config.model)
    disorder, sampler = build_disorder(config.disorder, model), build_sampler(c)
    if levels.count(c) > 1:
        raise ConfigError("[surface]: a fit needs one fermi_level and one temperature; fit.window spans more of them.")
    place = levels.places(c, model, progress)[0]
    strength = wanted.parameters.get("strength")
    strengths = None if strength is None else strength.bounds
    if wanted.window is not None:
        return tabulate_window(
            model,
            disorder,
            wanted.window,
            place.temperature,
            sampler,
            c.replicas,
            c.seed,
            strengths=strengths,
            progress=progress,
        )
    surface = fermi_surface(
        model,
        place.fermi_level,
        place.temperature,
        sampler,
        c.replicas,
        c.seed,
        smallest_pocket=c.smallest_pocket,
        degeneracy=c.degeneracy,
        rtol=c.rtol,
        budget=c.budget,
        progress=progress,
    )
    return tabulate(surface, disorder, strengths=strengths)


def run(source: Path, progress: Progress) -> Outcome:
    """The fit of a configuration."""
    config, wanted = load(source)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        problem, data = make(config, wanted, source.parent, progress)
        result = fit(
            problem,
            data,
            method=wanted.method,
            starts=wanted.starts,
            seed=wanted.seed,
            max_steps=wanted.max_steps,
            progress=progress,
        )
        posterior = sample_posterior(result, seed=wanted.seed) if wanted.posterior else None
    cautions = [str(w.message) for w in caught if issubclass(w.category, AccuracyWarning)]
    return Outcome(result, wanted, cautions, posterior)


def document(outcome: Outcome) -> dict[str, Any]:
    """What ``--json`` prints."""
    profiles = {
        name: {f"interval_{100 * level:.0f}": [finite(x) for x in p.interval(level)] for level in (0.6827, 0.95)}
        for name in outcome.wanted.profiles
        for p in [outcome.result.profile(name)]
    }
    drawn = {} if outcome.posterior is None else {"posterior": posterior_document(outcome.posterior)}
    return {**fit_document(outcome.result), "profiles": profiles, **drawn, "warnings": outcome.cautions}


def show(outcome: Outcome, page: Page) -> None:
    """The tables."""
    from jaxkin.fitting.report import fit_table, posterior_table

    page.print(fit_table(outcome.result))
    if outcome.posterior is not None:
        page.print(posterior_table(outcome.posterior))
    for line in outcome.cautions:
        page.print(Text(f"warning: {line}", style="yellow"))


def write(outcome: Outcome, text: dict[str, Any], folder: Path) -> list[Path]:
    """fit.nc, fit.json, posterior.nc and the pictures; their paths."""
    from jaxkin.fitting import pictures
    from jaxkin.output.pictures import png

    result = outcome.result
    written = [
        ds.save(result.to_dataset(), folder / "fit.nc"),
        replace_file(folder / "fit.json", (json.dumps(text, ensure_ascii=False, indent=1) + "\n").encode()),
        replace_file(folder / "fit.png", png(pictures.draw_fit(result))),
    ]
    for name in outcome.wanted.profiles:
        drawn = pictures.draw_profile(result.profile(name))
        written.append(replace_file(folder / f"profile_{name}.png", png(drawn)))
    if outcome.posterior is not None:
        written += [
            ds.save(outcome.posterior.to_dataset(), folder / "posterior.nc"),
            replace_file(folder / "posterior.png", png(pictures.draw_posterior(outcome.posterior))),
        ]
    return written
