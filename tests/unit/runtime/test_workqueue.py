"""Which keys wait, and until when."""

from hypothesis import given
from hypothesis import strategies as st

from reconciler.runtime.workqueue import FIRST_BACKOFF, LONGEST_BACKOFF, WorkQueue


def queue() -> WorkQueue[str]:
    return WorkQueue(jitter=lambda: 1.0)


def test_a_key_that_waits_is_not_added_twice() -> None:
    keys = queue()
    keys.add("a", 0.0)
    keys.add("a", 0.0)
    assert (keys.pop(0.0), keys.pop(0.0)) == ("a", None)


def test_an_earlier_time_overtakes_a_later_one() -> None:
    keys = queue()
    keys.add("a", 10.0)
    keys.add("a", 1.0)
    assert keys.next_due() == 1.0
    assert keys.pop(1.0) == "a"
    assert keys.pop(10.0) is None


def test_a_later_time_does_not_put_a_key_off() -> None:
    keys = queue()
    keys.add("a", 1.0)
    keys.add("a", 10.0)
    assert keys.pop(1.0) == "a"


def test_a_key_added_while_it_is_worked_on_comes_again() -> None:
    keys = queue()
    keys.add("a", 0.0)
    assert keys.pop(0.0) == "a"
    keys.add("a", 0.0)
    assert keys.pop(0.0) == "a"


def test_failures_double_the_pause_up_to_a_limit_and_success_forgets_them() -> None:
    keys = queue()
    pauses = []
    for _ in range(12):
        pauses.append(keys.failed("a", 0.0))
        keys.pop(1e9)
    assert pauses[:3] == [FIRST_BACKOFF, FIRST_BACKOFF * 2, FIRST_BACKOFF * 4]
    assert pauses[-1] == LONGEST_BACKOFF
    keys.succeeded("a")
    assert keys.failed("a", 0.0) == FIRST_BACKOFF


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0, 100))))
def test_every_key_comes_once_at_its_earliest_time(adds: list[tuple[str, float]]) -> None:
    keys = queue()
    for key, due in adds:
        keys.add(key, due)
    earliest: dict[str, float] = {}
    for key, due in adds:
        earliest[key] = min(due, earliest.get(key, due))
    seen = []
    while (due := keys.next_due()) is not None:
        key = keys.pop(due)
        assert key is not None
        assert earliest[key] == due
        seen.append(key)
    assert sorted(seen) == sorted(earliest)
    assert [earliest[key] for key in seen] == sorted(earliest.values())
