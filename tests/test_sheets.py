"""Tables on narrow terminals: every number is whole, whatever the width."""

import re

import numpy as np
import pytest
from rich.console import Console

import jaxkin as jk
from jaxkin.output.drive import Drive
from jaxkin.output.sheets import Sheets
from jaxkin.output.tables import summary


def printed(what, width: int) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(what)
    return capture.get()


@pytest.mark.parametrize("width", [30, 60, 80, 130])
def test_columns_that_do_not_fit_come_below(width):
    columns = [(f"part {n}\n(S)", [f"{-1.2345e-4 * n:.4e}", "0"]) for n in range(6)]
    text = printed(Sheets("g", [("ab", ["xx", "zz"])], columns, "all of them"), width)
    for header, cells in columns:
        assert cells[0] in text and header.split("\n")[0] in text
    tables = text.count("┏")
    assert text.count("│ xx │") == tables == {30: 6, 60: 2, 80: 2, 130: 1}[width]
    assert max(map(len, text.splitlines())) <= width and text.count("all of them") == 1 and text.startswith("g ")


def test_results_on_eighty_letters():
    """What a response and its observables say does not depend on the width of the terminal."""
    surface = jk.fermi_surface(jk.models.get("kramers-weyl-d3"), -1.2, sampler=jk.Lines(4), replicas=2)
    disorder = jk.RelaxationTime(0.6, tau_skew=100.0, side_jump=1.0)
    response = jk.gyrotropic_response(surface, disorder, frequency=[0.0, 1.0])
    sigma = jk.conductivity(surface, disorder, frequency=[0.0, 1.0], hall=False)
    table = summary(response, sigma, np.eye(3, dtype=bool), Drive((0.0, 0.0, 1e4)), (0, 0, 1))
    numbers = [re.findall(r"│ +(-?\d[^ ]*)", printed(table, width)) for width in (80, 250)]
    assert sorted(numbers[0]) == sorted(numbers[1]) and len(numbers[0]) > 30
    assert "…" not in printed(table, 80)
