"""When tasks without a namespace are looked for, and what becomes of the answers."""

import pytest

from calico.dataplane.changes import NamespaceRef
from calico.model import TaskId
from reconciler.agent.locators.api import Located, Search
from reconciler.agent.observation.evidence import Evidence
from reconciler.agent.searches import FIRST_DELAY, LEARN_EVERY, LONGEST_DELAY, Searches

WEB, DB = TaskId("web.1"), TaskId("db.1")
REF = NamespaceRef(100, 1, 4026)


def nobody(inodes: object) -> set[int]:
    return set()


def miss(searches: Searches, now: float) -> None:
    searches.take_in(Search(frozenset({WEB})), Evidence(nobody), (), now)


def test_a_new_task_is_searched_at_once() -> None:
    searches = Searches()
    searches.want([WEB], now=5.0)

    assert searches.next_due() == 5.0
    assert searches.begin(5.0) == {WEB}


def test_only_one_search_goes_on_at_a_time() -> None:
    searches = Searches()
    searches.want([WEB], now=0.0)
    searches.begin(0.0)

    assert searches.begin(60.0) == frozenset()
    assert searches.next_due() is None


def test_a_task_that_is_missed_again_and_again_is_searched_less_often() -> None:
    searches = Searches()
    searches.want([WEB], now=0.0)
    now, gaps = 0.0, []
    for _ in range(7):
        miss(searches, now)
        due = searches.next_due()
        assert due is not None
        gaps.append(round(due - now, 3))
        now = due

    assert gaps == [0.05, 0.1, 0.2, 0.4, 0.8, LONGEST_DELAY, LONGEST_DELAY]


def test_wanting_a_task_again_keeps_its_backoff() -> None:
    searches = Searches()
    searches.want([WEB], now=0.0)
    miss(searches, now=0.0)
    searches.want([WEB, DB], now=0.01)

    assert searches.begin(0.01) == {DB}


def test_a_task_that_is_no_longer_wanted_is_forgotten() -> None:
    searches = Searches()
    searches.want([WEB], now=0.0)
    searches.want([], now=0.0)

    assert searches.next_due() is None


def test_what_was_found_is_taken_out_once() -> None:
    searches = Searches()
    searches.want([WEB], now=0.0)
    searches.take_in(Search(frozenset({WEB}), Located({WEB: REF})), Evidence(nobody), (), 0.0)

    assert searches.take_found() == {WEB: REF}
    assert searches.take_found() == {}


def test_tasks_wired_before_are_asked_for_at_times_and_remembered() -> None:
    searches, evidence = Searches(), Evidence(nobody)

    assert searches.begin(0.0, unknown=[WEB]) == {WEB}
    searches.take_in(Search(frozenset({WEB})), evidence, [WEB], 0.0)
    assert searches.begin(LEARN_EVERY - 1, unknown=[WEB]) == frozenset()
    assert searches.begin(LEARN_EVERY, unknown=[WEB]) == {WEB}
    searches.take_in(Search(frozenset({WEB}), Located({WEB: REF})), evidence, [WEB], 0.0)

    assert evidence.attached == {WEB: REF}
    assert not searches.has_found


def test_the_namespace_of_another_task_is_not_taken() -> None:
    searches, evidence = Searches(), Evidence(nobody)
    evidence.wired(DB, REF)

    searches.take_in(Search(frozenset({WEB}), Located({WEB: REF})), evidence, [DB], 0.0)

    assert not searches.has_found
    assert searches.why_not(WEB) == "its network namespace is that of task db.1"


def test_a_reason_is_that_of_the_task_before_that_of_the_locator() -> None:
    searches = Searches()
    refused = Located(refused={WEB: "two namespaces"})

    searches.take_in(
        Search(frozenset({WEB, DB}), refused, ("no answer",)), Evidence(nobody), (), 0.0
    )

    assert (searches.why_not(WEB), searches.why_not(DB)) == ("two namespaces", "no answer")


def test_a_container_that_starts_hurries_the_search_for_all() -> None:
    searches = Searches()
    searches.want([WEB], now=0.0)
    for now in (0.0, 1.0, 2.0):
        searches.begin(now)
        miss(searches, now)
    assert searches.begin(2.1) == frozenset()

    searches.hurry(2.1)

    assert searches.begin(2.1) == {WEB}
    miss(searches, 2.1)
    assert searches.next_due() == pytest.approx(2.1 + FIRST_DELAY)


def test_a_search_that_began_before_the_container_is_made_again() -> None:
    searches = Searches()
    searches.want([WEB], now=0.0)
    searches.begin(0.0)

    searches.hurry(0.1)
    assert searches.begin(0.1) == frozenset()
    miss(searches, now=0.2)

    assert searches.begin(0.2) == {WEB}
    miss(searches, now=0.3)
    assert searches.begin(0.3) == frozenset()


def test_an_engine_that_is_back_is_asked_at_once_for_tasks_wired_before() -> None:
    searches = Searches()
    searches.begin(0.0, unknown=[WEB])
    miss(searches, now=0.0)
    assert searches.begin(1.0, unknown=[WEB]) == frozenset()

    searches.hurry(1.0)

    assert searches.begin(1.0, unknown=[WEB]) == {WEB}


def test_a_hurry_asks_for_nobody_that_is_not_waited_for() -> None:
    searches = Searches()

    searches.hurry(0.0)

    assert searches.begin(0.0) == frozenset()
