"""The command line: ``jaxkin run | fit | models | info | plot``."""

from __future__ import annotations

import inspect
import json
import re
import sys
import time
import warnings
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

import jaxkin
from jaxkin.cli import config as cfg
from jaxkin.cli import fit as fits
from jaxkin.cli import study as studies
from jaxkin.cli.progress import reporting
from jaxkin.errors import ConfigError, JaxkinError
from jaxkin.parallel import Share, cluster
from jaxkin.parallel.launcher import launch

app = App(
    name="jaxkin",
    help="Gyrotropic response of disordered noncentrosymmetric metals, from a Bloch Hamiltonian.",
    version=jaxkin.__version__,
)
Settings = Annotated[
    list[str] | None, Parameter(name="--set", negative=(), help="key=value on top of the configuration; repeatable")
]


@app.command
def run(
    source: str | None = None,
    /,
    *,
    set_: Settings = None,
    out: Path | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
    processes: int = 1,
    memory: str | None = None,
) -> None:
    """Compute g_ab(ω) by mechanism and what follows from it.

    Parameters
    ----------
    source
        A built-in model's name, a Wannier90 *_tb.dat or *_hr.dat file, or a TOML configuration; tellurium by default.
    out
        Folder for result.nc, result.json, config.toml and the pictures.
    json
        Print one JSON object instead of tables.
    processes
        Share the replicas among so many processes: started here, or already by srun or mpirun.
    memory
        What each process may take beyond the programs themselves, for example 2GiB; half of the machine's by default.
    """
    start = time.perf_counter()
    budget = [] if memory is None else [f"resources.memory={memory}"]
    config = cfg.load(source, [*(set_ or []), *budget])
    if config.response.solver == "quantum":
        _run_quantum(config, out, json)
        return
    share = _share(processes)
    if share is None:
        launch(processes, _command, sys.argv[1:])
        return
    first = share.index == 0  # prints and writes for all
    console = _console(quiet=not first)
    study = studies.prepare(config)

    def show(point: studies.Point) -> None:
        if not json:
            from jaxkin.output.tables import summary

            response = config.response
            console.print(
                summary(point.response, point.conductivity, study.allowed, response.field, response.optic_axis)
            )
            console.print()

    stopped: BaseException | None = None
    try:
        with reporting(quiet=json or not first) as progress, cfg.memory(config.resources):
            studies.run(study, progress, show, share)
    except (KeyboardInterrupt, JaxkinError, MemoryError) as error:
        if not study.points:
            raise
        stopped = error
    seconds = time.perf_counter() - start
    document = _document(study, seconds)
    if out is not None and first:
        _write(study, document, out, console=None if json else console)
    if json and first:
        print(_dumps(document))
    elif not json:
        for message in study.warnings:
            if not any(message.endswith(w) for point in study.points for w in point.response.warnings):
                console.print(f"warning: {message}", style="yellow")
        console.print(f"{seconds:.1f} s in all", style="dim")
    if stopped is not None:
        raise JaxkinError(
            f"stopped after {len(study.points)} points ({str(stopped) or 'interrupted'}); what was computed is shown"
            + (f" and kept in {out}." if out else ", and kept with --out DIR.")
        ) from stopped


def _run_quantum(config: cfg.Config, out: Path | None, json: bool) -> None:
    from jaxkin.cli import quantum

    start, points = time.perf_counter(), []
    console = _console(quiet=json)

    def done(point: quantum.Point) -> None:
        points.append(point)
        console.print(point.summary())
        console.print()

    with reporting(quiet=json) as progress, cfg.memory(config.resources):
        quantum.run(config, progress, done)
    document = {**points[0].document, "seconds": time.perf_counter() - start}
    if len(points) > 1:
        document["points"] = [point.document for point in points]
    if json:
        print(_dumps(document))
    if out is not None:
        written = quantum.write(points, config, _dumps(document), out)
        console.print("wrote " + ", ".join(map(str, written)), style="dim", soft_wrap=True)


def _share(processes: int) -> Share | None:
    """This process's share; None where the processes are still to be started."""
    if processes < 1:
        raise ConfigError(f"--processes {processes}: at least 1 is needed.")
    if processes == 1 or cluster.connected():
        return cluster.share()
    if cluster.tasks() == 1:
        return None
    if cluster.tasks() != processes:
        raise ConfigError(
            f"--processes {processes}: srun or mpirun has started {cluster.tasks()}; give both one number."
        )
    return cluster.initialize()


@app.command
def fit(source: Path, /, *, out: Path | None = None, json: Annotated[bool, Parameter(negative=())] = False) -> None:
    """Fit τ, τ_sk, a_sj, an impurity, μ or T to measured data.

    Parameters
    ----------
    source
        A TOML configuration with a section [fit], see docs/fits.md.
    out
        Folder for fit.nc, fit.json and the pictures.
    json
        Print one JSON object instead of tables.
    """
    with reporting(quiet=json) as progress:
        outcome = fits.run(source, progress)
    result, document = outcome.result, fits.document(outcome)
    if json:
        print(_dumps(document))
    else:
        fits.show(outcome, _console())
    if out is not None:
        written = fits.write(outcome, document, out)
        if not json:
            _console().print("wrote " + ", ".join(map(str, written)), style="dim", soft_wrap=True)
    if not result.converged:
        raise JaxkinError(f"{source}: the fit did not converge: {result.reason}.")


@app.command(name="models")
def list_models() -> None:
    """List the built-in models with their parameters."""
    table = Table(title="built-in models", title_justify="left")
    for column in ("name", "point group", "what", "parameters"):
        table.add_column(column)
    for name in jaxkin.models.available():
        function = jaxkin.models.builder(name)
        parameters = inspect.signature(function).parameters.values()
        what = (inspect.getdoc(function) or "").splitlines()[0]
        table.add_row(
            name,
            jaxkin.models.get(name).point_group or "continuous",
            what,
            ", ".join(
                f"{p.name}={p.default:.4g}" if isinstance(p.default, float) else f"{p.name}={p.default}"
                for p in parameters
            ),
        )
    _console().print(table)


@app.command
def info(source: str | None = None, /, *, set_: Settings = None) -> None:
    """Describe a model: lattice, bands, and the point group found on H(k).

    Parameters
    ----------
    source
        As for run.
    """
    config = cfg.load(source, set_ or [])
    model = cfg.build_model(config.model)
    console = _console()
    table = Table(show_header=False, box=None, pad_edge=False)
    stated = config.model.point_group or model.point_group
    operations = jaxkin.find_symmetries(model)
    found = jaxkin.symmetry.group_name(operations)
    allowed = jaxkin.symmetry.allowed_components(operations)
    reversal = any(op.name == "time reversal" for op in operations)
    table.add_row("model", config.model.file or config.model.name)
    table.add_row("bands, dimensions", f"{model.size}, {model.dimension}")
    if isinstance(model, jaxkin.TightBinding):
        lengths = np.linalg.norm(np.asarray(model.lattice), axis=1)
        table.add_row("lattice vectors", ", ".join(f"{x:.4f}" for x in lengths) + " Å")
        table.add_row("translations R", str(len(model.translations)))
    else:
        table.add_row("box", ", ".join(f"({lo:g}, {hi:g})" for lo, hi in model.zone) + " Å⁻¹")
    table.add_row("point group found on H(k)", f"{found}{', time reversal' if reversal else ''}")
    table.add_row("point group stated", stated or "none")
    components = [f"g_{'xyz'[a]}{'xyz'[b]}" for a, b in np.argwhere(allowed)]
    table.add_row("gyrotropic components allowed", ", ".join(components) or "none")
    console.print(table)
    console.print(_band_table(model))
    if stated:
        jaxkin.verify_point_group(model, stated)


def _console(quiet: bool = False) -> Console:
    """Standard output, wide enough for the tables when it is not a terminal."""
    console = Console(highlight=False, quiet=quiet)
    return console if console.is_terminal else Console(highlight=False, quiet=quiet, width=110)


def _band_table(model: jaxkin.BlochModel) -> Table:
    """Range of every band on a coarse grid."""
    from jaxkin.surface.spectrum import Spectrum

    points = {1: 200, 2: 48, 3: 20}[model.dimension]
    axes = [lo + (hi - lo) * (np.arange(points) + 0.5) / points for lo, hi in model.zone]
    k = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, model.dimension)
    energies = Spectrum(model)(k)
    table = Table(title=f"bands on a {points}^{model.dimension} grid (eV)", title_justify="left")
    for column in ("band", "lowest", "highest", "gap above"):
        table.add_column(column, justify="right")
    for n in range(model.size):
        gap = energies[:, n + 1].min() - energies[:, n].max() if n + 1 < model.size else np.nan
        row = (str(n), f"{energies[:, n].min():.4f}", f"{energies[:, n].max():.4f}", f"{gap:.4f}" if gap > 0 else "")
        table.add_row(*row)
    return table


@app.command
def plot(result: Path, /, *, out: Path | None = None) -> None:
    """Draw a result file again.

    Parameters
    ----------
    result
        result.nc, or the folder that holds it.
    out
        Folder for the pictures; that of the result by default.
    """
    from jaxkin.output import dataset as ds
    from jaxkin.output import pictures

    file = result / "result.nc" if result.is_dir() else result
    folder = out or file.parent
    folder.mkdir(parents=True, exist_ok=True)
    for path in pictures.draw(ds.load(file), folder):
        print(path)


def _write(study: studies.Study, document: dict, folder: Path, console: Console | None) -> None:
    from jaxkin.output import dataset as ds
    from jaxkin.output import pictures

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {folder}: {error}.") from error
    (folder / "config.toml").write_text(cfg.as_toml(study.config))
    (folder / "result.json").write_text(_dumps(document))
    data = study.dataset()
    ds.save(data, folder / "result.nc")
    written = [folder / "result.nc", folder / "result.json", folder / "config.toml", *pictures.draw(data, folder)]
    if console is not None:
        console.print("wrote " + ", ".join(map(str, written)), style="dim", soft_wrap=True)


def _document(study: studies.Study, seconds: float) -> dict:
    """One object; a scan adds ``points``, and the top level then holds the first of them."""
    points = [_point_document(point, study.config.response.optic_axis) for point in study.points]
    document = {**points[0], "seconds": seconds, "warnings": study.warnings}
    if len(points) > 1:
        document["points"] = points
    return document


def _point_document(point: studies.Point, axis) -> dict:
    response, surface = point.response, point.response.surface

    def parts(values: np.ndarray) -> list:
        return np.stack([np.real(values), np.imag(values)], axis=-1).tolist()

    return {
        "fermi_level": point.fermi_level,
        "temperature": point.temperature,
        "frequency": response.frequency.tolist(),
        "g": {name: parts(estimate.mean) for name, estimate in response.g.items()},
        "g_stderr": {name: parts(estimate.stderr) for name, estimate in response.g.items()},
        "rotatory_power": {name: parts(e.mean) for name, e in response.rotatory_power(axis).items()},
        "sigma": parts(point.conductivity.sigma["total"].mean),
        "sigma_stderr": parts(point.conductivity.sigma["total"].stderr),
        "time_reversal": point.conductivity.time_reversal,
        "density_of_states": float(point.data.density_of_states),
        "crossover_frequency": response.crossover_frequency(),
        "verdict": surface.verdict,
        "evaluations": surface.evaluations,
        "surface_points": len(surface),
        "seconds": point.seconds,
        "warnings": list(response.warnings),
    }


def _dumps(document: dict) -> str:
    return re.sub(r"\bNaN\b", "null", json.dumps(document, ensure_ascii=False))


def _command(arguments: list[str]) -> None:
    app(arguments)


def _show_warning(message: Warning | str, *_: object) -> None:
    print(f"jaxkin: warning: {message}", file=sys.stderr)


def main() -> None:
    """Entry point: errors are one line on standard error and exit code 1, warnings one line each."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            _command(sys.argv[1:])
    except JaxkinError as error:
        print(f"jaxkin: {error}", file=sys.stderr)
        cluster.leave(1)
    except KeyboardInterrupt:
        print("jaxkin: interrupted before the first result.", file=sys.stderr)
        cluster.leave(130)


if __name__ == "__main__":
    main()
