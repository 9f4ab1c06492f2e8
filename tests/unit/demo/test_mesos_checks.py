"""When an executor looks whether its task is well, and when it gives it up."""

from collections.abc import Sequence

import pytest

from demo.mesos.containers.checks import Checks
from demo.mesos.records import CheckKind, HealthCheck, TaskId

TASK = TaskId("a.1")
CHECK = HealthCheck(
    CheckKind.TCP, port=80, grace=10.0, interval=5.0, timeout=1.0, failures=2, delay=3.0
)


def look(checks: Checks, now: float, well: bool) -> tuple[bool | None, bool]:
    """Make the one check that is due; what it says of health, and whether to kill."""
    ((key, _),) = checks.take_due(now)
    verdict = checks.result(key, well, now)
    assert verdict is not None
    return verdict.healthy, verdict.kill


def test_the_first_look_comes_after_the_delay_and_the_next_after_the_interval() -> None:
    checks = Checks()
    checks.begin(TASK, [CHECK], 100.0)

    assert checks.next_at() == 103.0
    assert checks.take_due(102.9) == []
    look(checks, 103.5, True)
    assert checks.next_at() == 108.5


def test_nobody_looks_twice_at_the_same_time() -> None:
    checks = Checks()
    checks.begin(TASK, [CHECK], 0.0)

    assert len(checks.take_due(3.0)) == 1
    assert checks.take_due(100.0) == []
    assert checks.next_at() is None


@pytest.mark.parametrize(
    ("results", "said"),
    [
        pytest.param(
            [(3, False), (8, False), (13, False), (18, False)],
            [(None, False), (None, False), (False, False), (False, True)],
            id="failures within the grace of a task that was never well do not count",
        ),
        pytest.param(
            [(3, True), (8, False), (13, False)],
            [(True, False), (False, False), (False, True)],
            id="once it was well every failure counts",
        ),
        pytest.param(
            [(11, False), (16, True), (21, False), (26, True)],
            [(False, False), (True, False), (False, False), (True, False)],
            id="only failures in a row kill",
        ),
    ],
)
def test_what_results_say(
    results: Sequence[tuple[float, bool]], said: Sequence[tuple[bool | None, bool]]
) -> None:
    checks = Checks()
    checks.begin(TASK, [CHECK], 0.0)

    assert [look(checks, now, well) for now, well in results] == list(said)


def test_a_task_is_healthy_when_all_its_checks_say_so() -> None:
    checks = Checks()
    checks.begin(TASK, [CHECK, CHECK], 0.0)
    (first, _), (second, _) = checks.take_due(20.0)

    told = [checks.result(key, well, 20.0) for key, well in ((first, True), (second, False))]

    assert [verdict.healthy for verdict in told if verdict is not None] == [None, False]


def test_results_of_an_ended_task_say_nothing() -> None:
    checks = Checks()
    checks.begin(TASK, [CHECK], 0.0)
    ((key, _),) = checks.take_due(3.0)

    checks.end(TASK)

    assert checks.result(key, False, 4.0) is None
    assert checks.next_at() is None


def test_a_look_that_was_lost_is_made_again() -> None:
    checks = Checks()
    checks.begin(TASK, [CHECK], 0.0)
    checks.take_due(3.0)

    checks.forget_looks(4.0)

    assert len(checks.take_due(4.0)) == 1
