"""Numbers with their uncertainty in brackets: 0.0123(4)."""

from __future__ import annotations

import math


def with_uncertainty(mean: complex, stderr: complex, digits: int | None = None) -> str:
    """``mean`` rounded to where ``stderr`` begins, one digit of it in brackets (two if it begins with 1).

    Args:
        mean: real; or complex, and then ``stderr`` holds the errors of both parts.
        stderr: its standard error; NaN where it is not known.
        digits: of the uncertainty, where not one or two.

    >>> with_uncertainty(0.012345, 0.0004), with_uncertainty(-1.23456e-7, 1.4e-9), with_uncertainty(3.0, 0.0)
    ('0.0123(4)', '-1.235(14)e-07', '3')
    >>> with_uncertainty(1e-12, 5e-9), with_uncertainty(0.012345, 0.0004, digits=2)
    ('0(5)e-09', '0.01235(40)')
    >>> with_uncertainty(1.5 - 2.5j, 0.1 + 0.2j), with_uncertainty(-2.5j, 0.2j)
    ('1.50(10)-2.5(2)j', '-2.5(2)j')
    """
    if isinstance(mean, complex):
        error = complex(stderr)
        imaginary = with_uncertainty(mean.imag, error.imag, digits) + "j"
        if mean.real == 0 and error.real == 0:
            return imaginary
        return with_uncertainty(mean.real, error.real, digits) + ("" if imaginary[0] == "-" else "+") + imaginary
    stderr = complex(stderr).real
    if not math.isfinite(mean):
        return str(mean)
    if not math.isfinite(stderr):
        return f"{mean:.4g}(?)"
    if stderr == 0 or (mean and stderr < 1e-14 * abs(mean)):
        return f"{mean:.6g}"
    size = math.floor(math.log10(stderr))
    if digits is None:
        digits = 2 if round(stderr / 10 ** (size - 1)) < 20 else 1
    last = size - digits + 1  # decimal place of the last digit shown
    lead = math.floor(math.log10(max(abs(mean), stderr)))
    exponent = 0 if -4 < lead < 5 and last <= 0 else lead
    decimals = max(exponent - last, 0)
    value = mean / 10.0**exponent
    bracket = round(stderr / 10.0**last)
    text = f"{value:.{decimals}f}"
    if not text.strip("-0."):
        text = text.lstrip("-")
    return f"{text}({bracket})" + (f"e{exponent:+03d}" if exponent else "")
