"""A fit's result as a labelled dataset and as JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from jaxkin.fitting.columns import PACKAGE_UNITS
from jaxkin.fitting.posterior import Posterior
from jaxkin.fitting.result import FitResult
from jaxkin.output.dataset import versions


def fit_dataset(result: FitResult) -> xr.Dataset:
    """Parameters with errors and covariances, and every data set with its fit, as ``xarray.Dataset``."""
    names = list(result.names)
    parameter = ("parameter",)
    dataset = xr.Dataset(coords={"parameter": names, "other": names})
    dataset["value"] = (parameter, [result.values[n] for n in names], {"long_name": "best value, in unit"})
    dataset["error"] = (parameter, [result.errors[n] for n in names], {"long_name": "standard error, first order"})
    dataset["interval_68"] = (("parameter", "end"), [result.interval(n, 0.6827) for n in names])
    dataset["interval_95"] = (("parameter", "end"), [result.interval(n, 0.95) for n in names])
    dataset["unit"] = (parameter, [result.units[n] for n in names])
    dataset["varied"] = (parameter, [p.coordinate for p in result.problem.parameters])
    dataset["coordinate"] = (parameter, result.coordinates, {"long_name": "what is varied, see `varied`"})
    for name, matrix in (
        ("covariance", result.covariance),
        ("data_covariance", result.data_covariance),
        ("integrator_covariance", result.integrator_covariance),
        ("correlation", result.correlation),
    ):
        dataset[name] = (("parameter", "other"), matrix, {"long_name": f"{name} of the coordinates"})
    for number, data in enumerate(result.data):
        dims = (f"point_{number}",)
        unit = {"units": PACKAGE_UNITS[data.quantity]}
        dataset[f"data_{number}_value"] = (dims, data.value, {**unit, "quantity": data.quantity, "name": data.name})
        dataset[f"data_{number}_error"] = (dims, data.error, unit)
        dataset[f"data_{number}_fit"] = (dims, result.prediction(number), unit)
        for condition in ("frequency", "temperature", "field", "current_density"):
            column = getattr(data, condition)
            if column is not None:
                dataset[f"data_{number}_{condition}"] = (dims, column, {"units": PACKAGE_UNITS[condition]})
    return dataset.assign_attrs(
        **versions(),
        chi2=result.chi2,
        degrees_of_freedom=result.degrees_of_freedom,
        p_value=result.p_value,
        converged=int(result.converged),
        reason=result.reason,
        method=result.method,
        remarks="\n".join(result.doubts.lines),
    )


def fit_document(result: FitResult) -> dict[str, Any]:
    """The same for JSON, without the points; numbers that are not finite become null."""
    return {
        "converged": result.converged,
        "reason": result.reason,
        "method": result.method,
        "steps": result.steps,
        "parameters": {
            name: {
                "value": finite(result.values[name]),
                "error": finite(result.errors[name]),
                "unit": result.units[name],
                "interval_68": [finite(x) for x in result.interval(name, 0.6827)],
                "interval_95": [finite(x) for x in result.interval(name, 0.95)],
                "error_of_integrator": finite(float(result.errors[name] * share)),
            }
            for name, share in zip(result.names, _integrator_share(result), strict=True)
        },
        "correlation": np.round(result.correlation, 6).tolist(),
        "chi2": finite(result.chi2),
        "degrees_of_freedom": result.degrees_of_freedom,
        "p_value": finite(result.p_value),
        "data": [
            {"name": t.name, "points": t.count, "chi2": t.chi2, "runs": t.runs, "runs_p_value": t.runs_p_value}
            for t in result.residual_tests
        ],
        "remarks": list(result.doubts.lines),
        "start_chi2": [finite(float(x)) for x in result.start_chi2],
    }


def posterior_document(posterior: Posterior) -> dict[str, Any]:
    """Quantiles, R̂ and effective draws for JSON."""
    return {
        name: {
            **{f"interval_{level}": [finite(x) for x in posterior.interval(name, share)]
               for level, share in ((68, 0.6827), (95, 0.95))},
            "median": finite(posterior.quantile(name, 0.5)),
            "r_hat": finite(posterior.r_hat[name]),
            "effective_draws": finite(posterior.effective[name]),
        }
        for name in posterior.names
    }  # fmt: skip


def _integrator_share(result: FitResult) -> np.ndarray:
    """The integrator's part of each standard error."""
    whole = np.maximum(np.diag(result.covariance), 1e-300)
    return np.sqrt(np.diag(result.integrator_covariance) / whole)


def finite(x: float) -> float | None:
    """``x`` for JSON, which has no infinity."""
    return float(x) if np.isfinite(x) else None
