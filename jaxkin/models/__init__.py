"""Built-in models. Each states its point group, which :func:`jaxkin.verify_point_group` checks."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from jaxkin.checks import check_kind, check_number
from jaxkin.errors import ConfigError, nearest
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.models.dirac import massive_dirac_2d
from jaxkin.models.haldane import haldane, haldane_chiral
from jaxkin.models.helical import helical_isotropic
from jaxkin.models.kramers_weyl import kramers_weyl_d3, kramers_weyl_d4, kramers_weyl_o, kramers_weyl_t
from jaxkin.models.tellurium import tellurium
from jaxkin.models.weyl import weyl

_LIBRARY: dict[str, Callable[..., BlochModel]] = {
    "tellurium": tellurium,
    "helical-isotropic": helical_isotropic,
    "kramers-weyl-o": kramers_weyl_o,
    "kramers-weyl-t": kramers_weyl_t,
    "kramers-weyl-d4": kramers_weyl_d4,
    "kramers-weyl-d3": kramers_weyl_d3,
    "weyl": weyl,
    "massive-dirac-2d": massive_dirac_2d,
    "haldane": haldane,
    "haldane-chiral": haldane_chiral,
}


def available() -> tuple[str, ...]:
    """Names of the built-in models, ``name`` of a configuration: docs/configuration.md, "`[model]`".

    >>> import jaxkin as jk
    >>> "tellurium" in jk.models.available()
    True
    """
    return tuple(_LIBRARY)


def builder(name: str) -> Callable[..., BlochModel]:
    """The function that builds model ``name``; its docstring says the parameters and where the model comes from.

    Names are those of a configuration: docs/configuration.md, "`[model]`".

    Raises:
        ConfigError: no such model; names the nearest one.
    """
    if not isinstance(name, str) or name not in _LIBRARY:
        raise ConfigError(
            f"no built-in model {name!r}{nearest(name, available())}; there are: {', '.join(available())}."
        )
    return _LIBRARY[name]


def get(name: str, **parameters) -> BlochModel:
    """Build a model; ``jaxkin models`` lists names and parameters.

    They are those of a configuration: docs/configuration.md, "`[model]`".

    Args:
        name: one of :func:`available`.
        parameters: of the function that builds it.

    Raises:
        ConfigError: an unknown model or parameter.
        JaxkinError: a parameter that is no number, or no yes or no, where one is needed.

    >>> import jaxkin as jk
    >>> jk.models.get("kramers-weyl-d4", spin_orbit=0.3).point_group
    'D4'
    """
    function = builder(name)
    known = inspect.signature(function).parameters
    for key in parameters:
        if key not in known:
            raise ConfigError(
                f"model {name!r} has no parameter {key!r}{nearest(key, known)}; it has: {', '.join(known)}."
            )
        check_parameter(key, parameters[key], known[key].default)
    return function(**parameters)


def check_parameter(name: str, value: Any, default: Any) -> None:
    """Refuse what is no number, or no yes or no, where the default is one."""
    if isinstance(default, bool):
        check_kind(name, value, bool, "true or false")
    elif isinstance(default, int | float):
        check_number(name, value, f"a finite number, such as {default:g}")


__all__ = ["available", "builder", "get"]
