"""When tasks without a namespace are looked for."""

from calico.model import TaskId
from reconciler.agent.searches import LONGEST_DELAY, Searches

WEB, DB = TaskId("web.1"), TaskId("db.1")


def test_a_new_task_is_searched_at_once() -> None:
    searches = Searches()
    searches.want([WEB], now=5.0)

    assert searches.due(5.0) == {WEB}
    assert searches.next_due() == 5.0


def test_a_task_that_is_missed_again_and_again_is_searched_less_often() -> None:
    searches = Searches()
    searches.want([WEB], now=0.0)
    now, gaps = 0.0, []
    for _ in range(7):
        searches.missed([WEB], now)
        due = searches.next_due()
        assert due is not None
        gaps.append(round(due - now, 3))
        now = due

    assert gaps == [0.05, 0.1, 0.2, 0.4, 0.8, LONGEST_DELAY, LONGEST_DELAY]


def test_wanting_a_task_again_keeps_its_backoff() -> None:
    searches = Searches()
    searches.want([WEB], now=0.0)
    searches.missed([WEB], now=0.0)
    searches.want([WEB, DB], now=0.01)

    assert searches.due(0.01) == {DB}


def test_a_task_that_is_no_longer_wanted_is_forgotten() -> None:
    searches = Searches()
    searches.want([WEB], now=0.0)
    searches.want([], now=0.0)

    assert searches.next_due() is None
