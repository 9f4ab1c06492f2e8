"""Leaving out of a broken schedule what has no part in it."""

from collections.abc import Sequence

import pytest

from tests.simulation.faults import Fault, FaultKind, Place, parse_fault, render_fault
from tests.simulation.shrinking import smallest


@pytest.mark.parametrize(
    "needed",
    [
        pytest.param((), id="nothing"),
        pytest.param((7,), id="one"),
        pytest.param((0, 19), id="first and last"),
        pytest.param((3, 4, 11), id="some"),
        pytest.param(tuple(range(20)), id="all"),
    ],
)
def test_only_what_is_needed_is_left(needed: tuple[int, ...]) -> None:
    def breaks(parts: Sequence[int]) -> bool:
        return set(needed) <= set(parts)

    assert tuple(smallest(range(20), breaks)) == needed


def test_a_fault_is_written_as_it_is_read() -> None:
    place, fault = Place("c0", 118), Fault(FaultKind.LATE, 0.5)
    assert parse_fault(render_fault(place, fault)) == (place, fault)
