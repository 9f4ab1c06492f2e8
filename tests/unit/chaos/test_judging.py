"""When a connection that stood still is a violation."""

import pytest

from tests.chaos.judging import RECOVERY_SECONDS, STALL_LIMIT, CutTime, Stall, suffers, unexcused

ONE, TWO, THREE = "host-1", "host-2", "host-3"
CUT = CutTime(frozenset((ONE, TWO)), 10.0, 20.0)
SHORT_CUT = CutTime(frozenset((ONE, TWO)), 2.0, 4.0)
OPEN_CUT = CutTime(frozenset((ONE, TWO)), 10.0)


@pytest.mark.parametrize(
    ("stall", "cuts", "seconds"),
    [
        pytest.param(Stall((ONE, TWO), 1.0, 5.0), (), 4.0, id="nothing was cut"),
        pytest.param(Stall((ONE, TWO), 10.0, 20.0), (CUT,), 0.0, id="during the cut"),
        pytest.param(Stall((TWO, ONE), 10.0, 30.0), (CUT,), 0.0, id="and while it recovers"),
        pytest.param(Stall((ONE, TWO), 10.0, 40.0), (CUT,), 10.0, id="long after the cut"),
        pytest.param(Stall((ONE, TWO), 1.0, 9.0), (SHORT_CUT,), 1.0, id="a short cut"),
        pytest.param(Stall((ONE, TWO), 8.0, 20.0), (CUT,), 2.0, id="before it"),
        pytest.param(Stall((ONE, THREE), 10.0, 20.0), (CUT,), 10.0, id="others were cut off"),
        pytest.param(Stall((ONE, ONE), 10.0, 20.0), (CUT,), 10.0, id="within one host"),
        pytest.param(Stall((ONE, TWO), 11.0, 99.0), (OPEN_CUT,), 0.0, id="the cut goes on"),
        pytest.param(
            Stall((ONE, TWO), 10.0, 90.0),
            (CUT, CutTime(frozenset((ONE, TWO)), 22.0, 50.0)),
            12.0,
            id="one cut after the other",
        ),
    ],
)
def test_a_cut_on_the_way_excuses_as_long_as_it_lasts(
    stall: Stall, cuts: tuple[CutTime, ...], seconds: float
) -> None:
    assert RECOVERY_SECONDS == 5.0
    assert unexcused(stall, cuts) == seconds
    assert suffers(stall, cuts) is (seconds > STALL_LIMIT)
