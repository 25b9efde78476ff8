"""From a result back to the configuration that it was computed from."""

from __future__ import annotations

import json
import tomllib
import warnings
from pathlib import Path
from typing import Any

from jaxkin.cli.config import Config, applied, convert
from jaxkin.errors import AccuracyWarning, ConfigError, FileFormatError, in_one_line, nearest_file
from jaxkin.output import dataset as ds


def origin(path: Path, settings: list[str]) -> Config:
    """The configuration in a ``result.nc`` or ``result.json``, with ``key=value`` settings on top.

    Raises:
        FileFormatError: not a result, or a damaged one.
        ConfigError: a setting that is not understood.

    Warns:
        AccuracyWarning: other versions than here computed it, so that last digits may differ.
    """
    config, versions = _json(path) if path.suffix == ".json" else _netcdf(path)
    here = ds.versions()
    other = [f"{key.removesuffix('_version')} {value}" for key, value in versions.items() if here.get(key) != value]
    if other:
        text = f"{path}: computed with {', '.join(other)}; last digits may differ here."
        warnings.warn(text, AccuracyWarning, stacklevel=2)
    try:
        return convert(applied(tomllib.loads(config), settings), str(path))
    except ConfigError:
        raise
    except (ValueError, TypeError, RecursionError) as error:
        raise FileFormatError(f"{path}: its configuration cannot be read ({in_one_line(error)}).") from error


def _json(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        document = json.loads(path.read_text())
        return document["config"], dict(document["versions"])
    except OSError as error:
        said = f"no such file{nearest_file(path)}" if isinstance(error, FileNotFoundError) else error.strerror
        raise FileFormatError(f"{path}: {said}.") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FileFormatError(f"{path}: holds no configuration; give a result that `jaxkin run` wrote.") from error


def _netcdf(path: Path) -> tuple[str, dict[str, Any]]:
    attributes = ds.load(path / "result.nc" if path.is_dir() else path).attrs
    if not isinstance(attributes.get("config"), str):
        raise FileFormatError(f"{path}: holds no configuration; give a result that `jaxkin run` wrote.")
    return attributes["config"], {key: attributes[key] for key in ds.versions() if key in attributes}
