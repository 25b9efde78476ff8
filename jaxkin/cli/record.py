"""One finished point of a run as it is kept and printed, and the JSON object of all."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr
from numpy.typing import ArrayLike

from jaxkin.errors import FileFormatError
from jaxkin.output import dataset as ds


@dataclass(frozen=True)
class Record:
    """The numbers of one Fermi level and temperature, and what to be careful about."""

    document: dict[str, Any]
    """As JSON takes it."""
    data: xr.Dataset
    cautions: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """A NetCDF file that holds all of it."""
        return ds.encode(self.data.assign_attrs(record=json.dumps([self.document, self.cautions])))

    @classmethod
    def read(cls, path: Path) -> Record:
        """From a file of :meth:`encode`, every number to the last bit.

        Raises:
            FileFormatError: not such a file, or a damaged one.
        """
        data = ds.load(path)
        try:
            document, cautions = json.loads(data.attrs.pop("record"))
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"{path}: is no point of a run.") from error
        return cls(document, data, tuple(cautions))


def joined(records: Sequence[Record], cautions: Sequence[str], seconds: float, config: str) -> dict[str, Any]:
    """One object; a scan adds ``points``, and the top level then holds the first of them.

    Args:
        records: the points.
        cautions: of the whole run.
        seconds: it took.
        config: the configuration as TOML, from which the run can be repeated.
    """
    documents = [record.document for record in records]
    top = {"seconds": seconds, "warnings": list(cautions), "versions": ds.versions(), "config": config}
    return {**documents[0], **top, **({"points": documents} if len(documents) > 1 else {})}


def parts(values: ArrayLike) -> list:
    """Complex numbers as lists of [re, im].

    >>> parts([1 + 2j])
    [[1.0, 2.0]]
    """
    return ds.complex_parts(values).tolist()


def as_json(document: dict[str, Any]) -> str:
    """JSON text; what is unknown or infinite is null.

    >>> as_json({"stderr": [float("nan"), 1.0]})
    '{"stderr": [null, 1.0]}'
    """
    return json.dumps(_finite(document), ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
