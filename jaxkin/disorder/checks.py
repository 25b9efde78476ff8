"""Numbers that describe disorder, refused by name where they make no sense."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxkin.errors import JaxkinError
from jaxkin.namespace import is_traced


def check_positive(name: str, value: Any, meaning: str, *, optional: bool = False, zero: bool = False) -> None:
    """Refuse what is not a finite positive number, if it has a value yet.

    Args:
        name: of the argument.
        value: of it.
        meaning: what it must be, for the message.
        optional: None is allowed.
        zero: so is zero.

    Raises:
        JaxkinError: the value, and what it must be.

    >>> check_positive("tau", 1.0, "a positive time in ps")
    """
    if is_traced(value) or (optional and value is None):
        return
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise JaxkinError(f"{name}={value!r} must be {meaning}.") from None
    if not (np.isfinite(number) and (number > 0 or (zero and number == 0))):
        raise JaxkinError(f"{name}={value} must be {meaning}.")
