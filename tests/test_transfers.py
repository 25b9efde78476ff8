"""What goes between device and host in a response with impurities: a few arrays a chunk of points, whatever is asked.

On a CPU nothing is copied, but the same calls are made. To the device: what JAX logs. From it: every array, scalar
or leaf that becomes one of NumPy or Python.
"""

import re
from collections.abc import Callable

import jax
import numpy as np
import pytest
from jax._src.array import ArrayImpl

import jaxkin as jk
from jaxkin.hamiltonian import tiles
from jaxkin.surface import points

CHUNK = 9
"""Arrays that come back of each chunk of points: k's geometry and states, with how far each is to be trusted."""
SHELL = 23
"""And of each shell: the 3×3 tensors of a response and its measures."""


@pytest.fixture
def transfers(monkeypatch, capfd) -> Callable:
    """Of a function: how often something went (to the device, to the host)."""
    back = [0]

    def counting(convert):
        def counted(x, *arguments, **options):
            back[0] += isinstance(x, jax.Array) and not isinstance(x, jax.core.Tracer)
            return convert(x, *arguments, **options)

        return counted

    def of(function: Callable) -> tuple[int, int]:
        capfd.readouterr()
        back[0] = 0
        value = ArrayImpl._value
        with monkeypatch.context() as patch, jax.transfer_guard_host_to_device("log"):
            patch.setattr(np, "asarray", counting(np.asarray))
            patch.setattr(np, "array", counting(np.array))
            patch.setattr(ArrayImpl, "_value", property(counting(value.fget)))
            function()
        return len(re.findall("host-to-device transfer", capfd.readouterr().err)), back[0]

    return of


@pytest.fixture
def like_a_device(monkeypatch):
    """Tiles of the size that other backends than a CPU have, of points that rounding does not have solved again."""
    monkeypatch.setattr(tiles, "TILE_BYTES", {})
    monkeypatch.setattr(points, "CLOSE", 1e-9)


def response(surface: jk.Surface, frequencies: int, **options) -> Callable:
    impurity = jk.PointImpurity(1.0, range(2), 1e-4, order="born")  # the local Green function knows no points
    return lambda: jk.gyrotropic_response(surface, impurity, np.linspace(0.0, 5.0, frequencies), **options)


def sampled(n: int) -> jk.Surface:
    return jk.fermi_surface(jk.models.get("tellurium"), -0.02, sampler=jk.Lines(n), replicas=1, smallest_pocket=0.2)


def counted(transfers: Callable, respond: Callable) -> tuple[int, int]:
    respond()  # compiles; constants go to the device then
    return transfers(respond)


def test_points_and_frequencies_cost_no_transfers(transfers, like_a_device):
    """Twice the points in a chunk, and 26 frequencies in place of one: the same count, and a few arrays in all."""
    few, many = sampled(10), sampled(14)
    assert len(many) > 1.5 * len(few)
    chunks = -(-len(many) // tiles.tile_rows(many.model, arrays=12))
    one, all_frequencies, more = (
        counted(transfers, response(surface, frequencies, solver="exact"))
        for surface, frequencies in ((few, 1), (few, 26), (many, 26))
    )
    assert chunks == 1 and one == all_frequencies == more
    to_device, to_host = more
    assert 0 < to_host <= 3 * CHUNK + SHELL + 10 and 0 < to_device < 60


def test_a_chunk_costs_a_few(transfers, monkeypatch):
    """In small tiles the count grows by no more than what belongs to each: the count itself can fail."""
    surface, counts, parts = sampled(14), [], []
    for size in (2**25, 2**23):
        monkeypatch.setattr(tiles, "TILE_BYTES", {"cpu": size})
        counts.append(counted(transfers, response(surface, 1)))
        parts.append(-(-len(surface) // tiles.tile_rows(surface.model, arrays=12)))
    (to_few, from_few), (to_many, from_many) = counts
    assert parts[1] > 2 * parts[0]
    assert 0 < from_many - from_few <= 2 * CHUNK * (parts[1] - parts[0])
    assert 0 < to_many - to_few <= 2 * CHUNK * (parts[1] - parts[0])


def test_shells_cost_a_few_each_and_frequencies_none(transfers, like_a_device):
    """At T > 0: a few numbers of each shell come back, not one for each of its frequencies."""
    surface = jk.fermi_surface(jk.models.get("kramers-weyl-d3"), -1.2, 600.0, jk.Lines(4), replicas=1)
    one, many = (counted(transfers, response(surface, frequencies)) for frequencies in (1, 26))
    assert one == many and len(surface.shells) > 5
    assert many[1] <= (SHELL + 5) * len(surface.shells) + 3 * CHUNK + 10
