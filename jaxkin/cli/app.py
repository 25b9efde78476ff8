"""The command line: ``jaxkin run | fit | verify | models | info | plot``.

What a command needs is imported when it runs: ``--help`` needs neither JAX nor NumPy.
"""

from __future__ import annotations

import inspect
import sys
import time
import warnings
from pathlib import Path
from typing import Annotated, NoReturn

from cyclopts import App, Parameter

from jaxkin import __version__
from jaxkin.cli.page import discard_output
from jaxkin.cli.stop import Stopped, end, interruptible
from jaxkin.errors import ConfigError, FileFormatError, JaxkinError

app = App(
    name="jaxkin",
    help_format="plaintext",
    help="Gyrotropic response of disordered noncentrosymmetric metals, from a Bloch Hamiltonian.",
    version=__version__,
    suppress_keyboard_interrupt=False,  # main says what is kept
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
    from_: Annotated[Path | None, Parameter(name="--from")] = None,
    out: Path | None = None,
    resume: Annotated[bool, Parameter(negative=())] = False,
    json: Annotated[bool, Parameter(negative=())] = False,
    processes: int = 1,
    memory: str | None = None,
) -> None:
    """Compute g_ab(ω) by mechanism and what follows from it.

    Parameters
    ----------
    source
        A built-in model's name, a Wannier90 *_tb.dat or *_hr.dat, a TBmodels *.hdf5, or a TOML configuration;
        tellurium by default.
    from_
        A result.nc or result.json in place of SOURCE: what it was computed from, for the same numbers again.
    out
        Folder for result.nc, result.json, config.toml and the pictures; each point is kept there when it is done.
    resume
        Go on with the run in the folder of --out, also where it was killed; without SOURCE and --set, as it began.
    json
        Print one JSON object instead of tables.
    processes
        Share the replicas among so many processes: started here, or already by srun or mpirun.
    memory
        What each process may take beyond the programs themselves, for example 2GiB; half of the machine's by default.
    """
    if resume and out is None:
        raise ConfigError("--resume: name the folder of the run with --out DIR.")
    from jaxkin.cli import running

    settings = [*(set_ or []), *([] if memory is None else [f"resources.memory={memory}"])]
    config = running.configuration(source, from_, settings, out if resume and not set_ else None)
    running.run(config, running.Wanted(out, json, resume), processes, _command)


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
    from jaxkin.cli import fit as fits
    from jaxkin.cli.page import Page
    from jaxkin.cli.progress import reporting
    from jaxkin.cli.record import as_json
    from jaxkin.output.folder import folder

    with folder(out), reporting(quiet=json) as progress:
        outcome = fits.run(source, progress)
        result, document = outcome.result, fits.document(outcome)
        written = [] if out is None else fits.write(outcome, document, out)  # before anything that may not be printed
    page = Page(quiet=json, kept=out is not None)
    if json:
        page.write(as_json(document))
    fits.show(outcome, page)
    if written:
        page.print("wrote " + ", ".join(map(str, written)), style="dim")
    page.check()
    if not result.converged:
        raise JaxkinError(f"{source}: the fit did not converge: {result.reason}.")


@app.command
def verify() -> None:
    """Compute closed forms on this machine and device, and compare; exit code 1 where one fails."""
    from jaxkin.cli import verify as closed
    from jaxkin.cli.page import console
    from jaxkin.cli.progress import reporting

    start = time.perf_counter()
    with reporting(quiet=False) as progress:
        found = []
        for one in closed.checks():
            found.append(one)
            progress(len(found), len(found) + 1, "closed forms")
    page = console()
    page.print(closed.table(found))
    failed = sum(not one.passed for one in found)
    page.print(f"{len(found) - failed} of {len(found)} pass, {time.perf_counter() - start:.1f} s", style="dim")
    if failed:
        raise JaxkinError(f"verify: {failed} of {len(found)} closed forms are not met on this device; see the table.")


@app.command(name="models")
def list_models() -> None:
    """List the built-in models with their parameters."""
    from rich.table import Table

    from jaxkin import models
    from jaxkin.cli.page import console

    table = Table(title="built-in models", title_justify="left")
    for column in ("name", "point group", "what", "parameters"):
        table.add_column(column)
    for name in models.available():
        function = models.builder(name)
        parameters = inspect.signature(function).parameters.values()
        what = (inspect.getdoc(function) or "").splitlines()[0]
        table.add_row(
            name,
            models.get(name).point_group or "continuous",
            what,
            ", ".join(
                f"{p.name}={p.default:.4g}" if isinstance(p.default, float) else f"{p.name}={p.default}"
                for p in parameters
            ),
        )
    console().print(table)


@app.command
def info(
    source: str | None = None,
    /,
    *,
    set_: Settings = None,
    out: Path | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Describe a model: atoms, symmetry of H(k), what it allows and why, band edges, pockets at a Fermi level.

    Parameters
    ----------
    source
        As for run.
    set_
        key=value on top of the configuration; fermi_level=... adds the pockets there.
    out
        Folder for bands.png, the bands along the standard path.
    json
        Print one JSON object instead of tables.
    """
    from jaxkin.cli import info as description
    from jaxkin.cli import info_tables
    from jaxkin.cli.config import load
    from jaxkin.cli.page import console
    from jaxkin.cli.progress import reporting
    from jaxkin.cli.record import as_json
    from jaxkin.output.folder import folder

    with folder(out), reporting(quiet=json) as progress:
        found = description.describe(load(source, set_ or []), progress)
        written = None if out is None else description.draw(found, out)
    if json:
        print(as_json(description.document(found)))
    else:
        console().print(info_tables.page(found))
    if written and not json:
        console().print(f"wrote {written}, along {found.path().origin}", style="dim", soft_wrap=True)


@app.command
def plot(
    result: Path,
    /,
    *,
    out: Path | None = None,
    export: Annotated[list[Path] | None, Parameter(negative=())] = None,
    colour: Annotated[list[str] | None, Parameter(negative=())] = None,
) -> None:
    """Draw a result file again, or export its Fermi surface.

    Parameters
    ----------
    result
        result.nc, or the folder that holds it.
    out
        Folder for the pictures; that of the result by default.
    export
        In place of pictures, a file to write: .bxsf (XCrySDen), .vtk (ParaView), .html (any browser), .png, .csv
        (points); repeatable.
    colour
        What the Fermi surface of a .png is coloured by: velocity_x, berry_curvature (its length), ...; repeatable, a
        panel for each.
    """
    from jaxkin.output import dataset as ds

    file = result / "result.nc" if result.is_dir() else result
    data = ds.load(file)
    if export:
        from jaxkin.cli.exports import export_result

        for path in export:
            print(export_result(file, data, path, colour or []))
        return
    from jaxkin.output import pictures
    from jaxkin.output.folder import Folder

    place = out or file.parent
    with Folder(place):
        drawn = pictures.draw(data, place, colour or [])
    if not drawn:
        raise FileFormatError(f"{file}: holds nothing to draw.")
    for path in drawn:
        print(path)


def _command(arguments: list[str]) -> None:
    app(arguments)


def _show_warning(message: Warning | str, *_: object) -> None:
    print(f"jaxkin: warning: {message}", file=sys.stderr)


def main() -> None:
    """Entry point: errors are one line on standard error and exit code 1, warnings one line each."""
    try:
        with warnings.catch_warnings(), interruptible():
            warnings.showwarning = _show_warning
            _command(sys.argv[1:])
    except JaxkinError as error:
        _leave(str(error), 1)
    except Stopped as error:
        end(error.line, error.status)
    except KeyboardInterrupt:
        end("interrupted.", 130)
    except BrokenPipeError:  # a reader that has seen enough, such as head
        discard_output()
        _leave(None, 1)
    except OSError as error:  # such as a full disk beneath standard output
        discard_output()
        _leave(f"{error.filename or 'standard output'}: {error.strerror or error}.", 1)


def _leave(line: str | None, status: int) -> NoReturn:
    if line is not None:
        print(f"jaxkin: {line}", file=sys.stderr)
    cluster = sys.modules.get("jaxkin.parallel.cluster")  # without it no other process waits for this one
    if cluster is not None:
        cluster.leave(status)
    sys.exit(status)


if __name__ == "__main__":
    main()
