"""How often a key may be looked at."""

from hypothesis import given
from hypothesis import strategies as st

from reconciler.runtime.pace import Pace


def test_a_burst_is_let_through_at_once_and_then_one_at_a_time() -> None:
    pace: Pace[str] = Pace(burst=3, every=0.5)
    now = 100.0
    waits = []
    for _ in range(6):
        due = pace.due("app", now)
        waits.append(due - now)
        pace.looked("app", now := due)

    assert waits == [0, 0, 0, 0.5, 0.5, 0.5]


def test_a_key_that_rested_may_have_a_burst_again() -> None:
    pace: Pace[str] = Pace(burst=2, every=1.0)
    for _ in range(2):
        pace.looked("app", 0.0)

    assert pace.due("app", 0.0) == 1.0
    assert pace.due("app", 1.0) == 1.0
    assert pace.due("other", 0.0) == 0.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.integers(1, 5))
def test_no_more_than_the_burst_is_ahead_of_the_clock(pauses: list[float], burst: int) -> None:
    pace: Pace[str] = Pace(burst=burst, every=0.25)
    now, looks = 0.0, []
    for pause in pauses:
        now = pace.due("app", now + pause)
        pace.looked("app", now)
        looks.append(now)

    for first in range(len(looks)):
        for last in range(first, len(looks)):
            allowed = burst + (looks[last] - looks[first]) / 0.25
            assert last - first + 1 <= allowed + 1e-6


def test_many_keys_that_had_their_time_are_not_kept() -> None:
    pace: Pace[int] = Pace(burst=1, every=0.1)
    for key in range(5_000):
        pace.looked(key, float(key))

    assert pace.due(4_999, 4_999.0) > 4_999.0
    assert pace.due(1, 4_999.0) == 4_999.0
