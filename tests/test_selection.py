"""Selection rules of all 32 point groups against the tables, and each reason against the operation it names."""

import numpy as np
import pytest

import jaxkin as jk
from jaxkin.symmetry import Operation, allowed, allowed_components, forbidden, is_gyrotropic, point_group
from jaxkin.symmetry.groups import GENERATORS

NONCENTROSYMMETRIC = {
    *("C1", "C2", "C3", "C4", "C6", "D2", "D3", "D4", "D6", "T", "O"),
    *("Cs", "C2v", "C3v", "C4v", "C6v", "S4", "D2d", "C3h", "D3h", "Td"),
}
NOT_GYROTROPIC = {"C3h", "D3h", "Td"}  # -6, -62m, -43m
OPTICALLY_ACTIVE = {"C1", "C2", "C3", "C4", "C6", "D2", "D3", "D4", "D6", "T", "O", "Cs", "C2v", "S4", "D2d"}
"""Nye: the fifteen in which the symmetric part of g is not zero."""
FERROMAGNETIC = {"C1", "Ci", "Cs", "C2", "C2h", "C3", "C4", "C6", "S4", "S6", "C3h", "C4h", "C6h"}
"""Of the 32 groups without time reversal, the thirteen that keep an axial vector."""
TIME_REVERSAL = Operation(np.eye(3), antiunitary=True)


def test_there_are_32_groups_and_21_without_inversion():
    assert len(GENERATORS) == 32
    without = {name for name in GENERATORS if not any(op.name == "inversion" for op in point_group(name))}
    assert without == NONCENTROSYMMETRIC


@pytest.mark.parametrize("name", GENERATORS)
def test_gyrotropic_optically_active_and_ferromagnetic_groups(name):
    operations = point_group(name)
    assert is_gyrotropic(operations) == (name in NONCENTROSYMMETRIC - NOT_GYROTROPIC)
    basis = np.eye(9).reshape(9, 3, 3)
    symmetric = jk.symmetry.project_gyrotropic(operations, 0.5 * (basis + basis.swapaxes(1, 2)))
    assert bool(np.abs(symmetric).max() > 1e-9) == (name in OPTICALLY_ACTIVE)
    assert bool(allowed(operations, "hall")) == (name in FERROMAGNETIC)


@pytest.mark.parametrize("turn", [0.0, 0.3])
@pytest.mark.parametrize("name", GENERATORS)
def test_every_reason_forbids_what_it_says_and_nothing_else(name, turn):
    operations = point_group(name, turn=turn)
    mask = allowed_components(operations)
    assert set(allowed(operations)) == {"xyz"[a] + "xyz"[b] for a, b in np.argwhere(mask)}
    magnetic = [*operations, *(Operation(op.rotation, antiunitary=True) for op in operations)]
    for group, response, count in ((operations, "g", 9), (operations, "hall", 3), (magnetic, "hall", 3)):
        rules = forbidden(group, response)
        named = [component for rule in rules for component in rule.components]
        assert len(named) == len(set(named)) == count - len(allowed(group, response))
        for rule in rules:
            assert not set(rule.components) & set(allowed(rule.by, response))
            assert len(rule.by) <= 2
    assert [rule.by[0].name for rule in forbidden(magnetic, "hall")] == ["time reversal"]


def test_reasons_that_a_physicist_would_give():
    def reason(name):
        return [(" ".join(rule.components), rule.by[0].name) for rule in forbidden(point_group(name))]

    assert reason("Oh") == [("xx xy xz yx yy yz zx zy zz", "inversion")]
    assert reason("D3") == [("xy xz yx zx", "C2 about [1 0 0]"), ("yz zy", "C3 about [0 0 1]")]
    assert reason("D3h") == [("xx xy xz yx yy yz zx zy zz", "S3 about [0 0 1]")]
    assert allowed(point_group("D2d")) == ("xx", "yy")
    assert allowed(point_group("Cs")) == ("xz", "yz", "zx", "zy")


def test_antiunitary_rotations_act_on_g_like_rotations_and_on_hall_with_a_sign():
    turn = point_group("C4")[1].rotation
    magnetic = [Operation(np.eye(3)), Operation(turn, antiunitary=True), Operation(turn @ turn)]
    magnetic.append(Operation(turn @ turn @ turn, antiunitary=True))
    assert allowed(magnetic) == allowed(point_group("C4"))
    assert allowed(magnetic, "hall") == ()  # a moment along z is turned round
