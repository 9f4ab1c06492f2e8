"""Group isolation as the demo restates it, and how it judges a measurement."""

import pytest

from demo.stories.matrix import (
    Cell,
    Host,
    Outcome,
    Pair,
    Sender,
    Task,
    is_open,
    judge,
    judge_all,
    pairs,
)


def task(name: str, *groups: str, host: str = "host-1", ports: tuple[int, ...] = (80,)) -> Task:
    return Task(name, host, tuple(groups), ports)


@pytest.mark.parametrize(
    ("source", "target", "port", "wanted"),
    [
        pytest.param(task("a", "x"), task("b", "x"), 80, True, id="a shared group opens"),
        pytest.param(task("a", "x"), task("b", "y"), 80, False, id="no shared group, closed"),
        pytest.param(task("a", "x", "y"), task("b", "y", "z"), 80, True, id="one of several"),
        pytest.param(task("a", "x"), task("b", "x"), 81, False, id="undeclared port is closed"),
        pytest.param(
            task("a", "x"), task("b", "x", ports=()), 81, True, id="none declared opens all"
        ),
        pytest.param(task("a"), task("b", "public"), 80, True, id="everyone reaches public"),
        pytest.param(
            task("a"), task("b", "public"), 81, False, id="public opens declared ports only"
        ),
        pytest.param(
            task("a", "public"), task("b", "x"), 80, False, id="public reaches no more than others"
        ),
        pytest.param(task("a"), task("b"), 80, False, id="without groups nothing is shared"),
        pytest.param(Host("host-1"), task("b"), 81, True, id="own host reaches every port"),
        pytest.param(Host("host-2"), task("b", "x"), 80, False, id="another host is closed out"),
        pytest.param(
            Host("host-2"), task("b", "public"), 80, True, id="another host reaches public"
        ),
        pytest.param(
            Host("host-2", trusted=True), task("b"), 80, True, id="trusted reaches declared ports"
        ),
        pytest.param(
            Host("host-2", trusted=True), task("b"), 81, False, id="trusted reaches only those"
        ),
    ],
)
def test_groups_decide_who_reaches_whom(
    source: Sender, target: Task, port: int, wanted: bool
) -> None:
    assert is_open(source, target, port) is wanted


@pytest.mark.parametrize(
    ("wanted", "outcome", "declared", "cell"),
    [
        pytest.param(True, Outcome.CONNECTED, True, Cell.OPEN, id="connected as called for"),
        pytest.param(True, Outcome.SILENT, True, Cell.BROKEN, id="silence breaks an opening"),
        pytest.param(True, Outcome.REFUSED, True, Cell.BROKEN, id="somebody should listen"),
        pytest.param(True, Outcome.REFUSED, False, Cell.OPEN, id="nobody has to listen there"),
        pytest.param(True, Outcome.UNREACHABLE, True, Cell.BROKEN, id="no route breaks it too"),
        pytest.param(False, Outcome.SILENT, True, Cell.CLOSED, id="silence is closed"),
        pytest.param(False, Outcome.UNREACHABLE, True, Cell.CLOSED, id="no route is closed"),
        pytest.param(False, Outcome.CONNECTED, True, Cell.LEAK, id="connected against the groups"),
        pytest.param(False, Outcome.REFUSED, False, Cell.LEAK, id="a refusal has arrived as well"),
    ],
)
def test_a_measurement_is_judged_by_what_was_called_for(
    wanted: bool, outcome: Outcome, declared: bool, cell: Cell
) -> None:
    assert judge(wanted, outcome, declared) is cell


def test_every_sender_tries_every_other_task() -> None:
    a, b = task("a", "x"), task("b", "x", ports=(90, 91))

    found = pairs([Host("host-1"), a, b], [a, b], None)

    assert found == [
        Pair("host-1", "a", 80),
        Pair("host-1", "b", 90),
        Pair("a", "b", 90),
        Pair("b", "a", 80),
    ]


def test_a_leak_stands_out_among_right_pairs() -> None:
    a, b, c = task("a", "x"), task("b", "x"), task("c", "y")
    outcomes = {
        Pair("a", "b", 80): Outcome.CONNECTED,
        Pair("a", "c", 80): Outcome.CONNECTED,
        Pair("c", "a", 80): Outcome.SILENT,
    }

    cells = judge_all([a, b, c], [a, b, c], outcomes)

    assert list(cells.values()) == [Cell.OPEN, Cell.LEAK, Cell.CLOSED]
    assert [cell.ok for cell in cells.values()] == [True, False, True]
