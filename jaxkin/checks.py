"""What a user hands in, refused by name where it makes no sense, before any work starts."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxkin.errors import JaxkinError, shortened
from jaxkin.namespace import is_traced

LARGEST, SMALLEST = 1e60, 1e-60
"""Sizes of numbers whose cubes do not leave the range of floating point."""
MOST_EXACT = 2**53
"""Up to which floating point holds every integer."""
MOST_REPLICAS = 100_000
"""That one surface may have."""
MOST_VALUES = 100_000
"""That a range of Fermi levels, temperatures or frequencies may have."""
MOST_NODES = 10**10
"""Lines or points in one pocket's box that a sampler goes through."""


def check_number(
    name: str, value: Any, meaning: str, *, least: float = -LARGEST, most: float = LARGEST, optional: bool = False
) -> None:
    """Refuse what is not one number from ``least`` to ``most``, if it has a value yet.

    Args:
        name: of the argument.
        value: of it.
        meaning: what it must be, for the message.
        least, most: the ends, both allowed.
        optional: None is allowed.

    Raises:
        JaxkinError: the value, and what it must be.

    >>> check_number("fermi_level", float("nan"), "an energy in eV")
    Traceback (most recent call last):
    jaxkin.errors.JaxkinError: fermi_level=nan must be an energy in eV.
    """
    if is_traced(value) or (optional and value is None):
        return
    try:
        number = np.nan if isinstance(value, str | bytes | bool) or np.ndim(value) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = np.nan
    if not least <= number <= most:
        raise JaxkinError(f"{name}={shown(value)} must be {meaning}.")


def check_positive(name: str, value: Any, meaning: str, *, optional: bool = False, zero: bool = False) -> None:
    """Refuse what is not a finite positive number, or ``zero``, if it has a value yet.

    >>> check_positive("tau", 1.0, "a positive time in ps")
    """
    if zero and not is_traced(value) and np.ndim(value) == 0 and value == 0:
        return
    check_number(name, value, meaning, least=SMALLEST, optional=optional)


def check_count(name: str, value: Any, least: int = 1, most: int | None = None) -> None:
    """Refuse what is not a whole number from ``least`` to ``most``.

    >>> check_count("replicas", 2.5)
    Traceback (most recent call last):
    jaxkin.errors.JaxkinError: replicas=2.5 must be a whole number, at least 1.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < least or (most is not None and number > most):
        limit = "" if most is None else f" and at most {most}"
        raise JaxkinError(f"{name}={shown(value)} must be a whole number, at least {least}{limit}.")


def check_work(count: int, what: str) -> None:
    """Refuse what would not end: more than ``MOST_NODES`` of something that is gone through one by one.

    >>> check_work(10**12, "n = 1000000: the lines of a pocket")
    Traceback (most recent call last):
    jaxkin.errors.JaxkinError: n = 1000000: the lines of a pocket are 1e+12; at most 1e+10 are gone through.
    """
    if count > MOST_NODES:
        raise JaxkinError(f"{what} are {float(count):.3g}; at most {MOST_NODES:.0e} are gone through.")


def check_kind(name: str, value: Any, kind: Any, meaning: str) -> None:
    """Refuse an argument that is not of a ``kind``, a type or several.

    >>> check_kind("model", "tellurium", float, "a model, for example jaxkin.models.get('tellurium')")
    Traceback (most recent call last):
    jaxkin.errors.JaxkinError: model='tellurium' must be a model, for example jaxkin.models.get('tellurium').
    """
    if not isinstance(value, kind):
        raise JaxkinError(f"{name}={shown(value)} must be {meaning}.")


def check_flag(name: str, value: Any, *, optional: bool = False) -> None:
    """Refuse what is not True or False, or None where that is allowed.

    >>> check_flag("hall", "no")
    Traceback (most recent call last):
    jaxkin.errors.JaxkinError: hall='no' must be True or False.
    """
    if not (optional and value is None):
        check_kind(name, value, (bool, np.bool_), "True, False or None" if optional else "True or False")


def check_progress(progress: Any) -> None:
    """Refuse what cannot be told how far a computation is."""
    if progress is not None:
        check_kind("progress", progress, Callable, "a function of (done, total, what)")


def numbers(name: str, value: Any, meaning: str, dtype: type = float) -> np.ndarray:
    """``value`` as an array of finite numbers.

    >>> numbers("cells", [[0, 0], [1]], "one row of integers for each orbital", int)
    Traceback (most recent call last):
    jaxkin.errors.JaxkinError: cells=[[0, 0], [1]] must be one row of integers for each orbital.
    """
    try:
        given = np.asarray(value)
        good = given.dtype.kind in ("biufOc" if dtype is complex else "biufO")
        found = given.astype(complex if dtype is complex else float) if good else given
        good = good and bool(np.all(np.abs([np.real(found), np.imag(found)]) <= LARGEST))
        if good and dtype is int:
            good = bool(np.all(found == np.rint(found)) and np.all(np.abs(found) <= MOST_EXACT))
    except (TypeError, ValueError, OverflowError):
        good = False
    if not good:
        raise JaxkinError(f"{name}={shown(value)} must be {meaning}.")
    return found.astype(dtype)


def shown(value: Any) -> str:
    """A value in a message: on one line, and not too long."""
    return shortened(repr(value.tolist() if isinstance(value, np.ndarray) else value), 60)


def flat(lattice: np.ndarray) -> bool:
    """Whether three vectors span less than 10⁻⁶ Å³; their triple product, as LU warns of denormal numbers.

    >>> flat(np.eye(3)), flat(np.ones((3, 3)))
    (False, True)
    """
    return not abs(lattice[0] @ np.cross(lattice[1], lattice[2])) > 1e-6


def cartesian(values: Any, name: str) -> np.ndarray:
    """Three finite components as an array; an axis (a name that ends so) must not be zero.

    Raises:
        JaxkinError: with the ``name`` of the argument.
    """
    axis = name.endswith("axis")
    meaning = "three finite Cartesian components" + ", not all zero" * axis
    vector = numbers(name, values, meaning)
    if vector.shape != (3,) or (axis and not np.linalg.norm(vector) >= SMALLEST):
        raise JaxkinError(f"{name}={shown(values)} must be {meaning}.")
    return vector
