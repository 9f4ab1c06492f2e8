"""Who leads, with real processes: what a standby does when its leader ends, hangs or stops."""

import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from calico import keys
from reconciler.runtime.lease import RENEW_EVERY, WRITE_WINDOW
from tests.contract.controllers.two_controllers import HOST, RESYNC, Pair, two_controllers
from tests.faults.door import Fault

#: Seconds within which the lease is another's, as is promised.
AFTER_A_KILL, AFTER_A_STOP = 20.0, 3.0
#: Seconds in which a process that was told to end has ended.
ENDING = 5.0
APP, TASKS = "/shop", 60


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with two_controllers(tmp_path) as made:
        yield made


def start_app(pair: Pair, first: int, last: int) -> set[str]:
    """Have Marathon name these tasks of the app, and no others."""
    tasks = {f"shop.{number}" for number in range(first, last)}
    pair.marathon.put(APP, [(task, HOST) for task in sorted(tasks)], ["shop"])
    return tasks


@dataclass(frozen=True)
class Reign:
    """Who leads at a moment: by etcd's word, by its own log, and after how many takeovers."""

    holder: str
    token: int
    takeovers: int


def reign(pair: Pair) -> Reign:
    """That of the first controller."""
    return Reign(pair.holder, pair.one.logged_token, pair.takeovers)


def expect_takeover(pair: Pair, before: Reign, within: float, since: float) -> None:
    """The lease is another's in etcd so soon; it leads by a greater token, as its log tells."""
    pair.until("another has the lease", lambda: pair.holder not in ("", before.holder), within)
    assert time.monotonic() - since <= within
    pair.until("the other leads", lambda: pair.other.token is not None)
    pair.until("the host can see it", lambda: pair.takeovers > before.takeovers)
    pair.follow()
    assert pair.other.token == pair.other.logged_token
    assert pair.other.logged_token > before.token


def test_a_standby_takes_over_from_a_leader_that_was_killed(pair: Pair) -> None:
    before = reign(pair)
    assert before.token == pair.one.token

    killed = time.monotonic()
    pair.one.send(signal.SIGKILL)

    expect_takeover(pair, before, AFTER_A_KILL, killed)


def test_a_standby_takes_over_at_once_from_a_leader_that_was_told_to_stop(pair: Pair) -> None:
    tasks = start_app(pair, 0, TASKS)
    before = reign(pair)
    pair.until("the leader works", lambda: len(pair.one.wrote()) > 20)

    told = time.monotonic()
    pair.one.send(signal.SIGTERM)

    expect_takeover(pair, before, AFTER_A_STOP, told)
    assert pair.one.process.wait(ENDING) == 0
    # then it goes on where the first was interrupted
    pair.until("every task has its endpoint", lambda: pair.tasks() == tasks)


def test_the_lease_is_given_back_also_by_a_renewal_that_is_slow(pair: Pair) -> None:
    # given an etcd that answers the leader late, also its renewal that is under way
    slow = 2.5
    before = reign(pair)
    pair.switch(pair.one, Fault.BLACK_HOLE)
    time.sleep(RENEW_EVERY + 0.2)

    pair.one.send(signal.SIGTERM)
    time.sleep(slow)
    answered = time.monotonic()
    pair.switch(pair.one, Fault.NONE)

    expect_takeover(pair, before, AFTER_A_STOP, answered)
    assert pair.one.process.wait(ENDING) == 0


@pytest.mark.parametrize("writes", [17, 90, 181])
def test_a_leader_that_is_stopped_within_its_writes_writes_nothing_after_it(
    pair: Pair, writes: int
) -> None:
    # given a leader that is stopped somewhere within many writes
    start_app(pair, 0, TASKS)
    before = reign(pair)
    pair.until(f"{writes} writes", lambda: len(pair.one.wrote()) >= writes)
    stopped = time.monotonic()
    pair.one.send(signal.SIGSTOP)

    # when the other has taken over, with half of the tasks gone and new ones come
    expect_takeover(pair, before, AFTER_A_KILL, stopped)
    pair.until("the other hears of events", lambda: pair.marathon.streams == 2)
    left = start_app(pair, TASKS // 2, TASKS + 5)
    for number in range(TASKS // 2):
        pair.marathon.tell(APP, f"shop.{number}", HOST, "TASK_KILLED")
    pair.until("the other has done its work", lambda: pair.tasks() == left)
    settled = pair.settle()

    seen = len(pair.one.door.seen)
    pair.one.send(signal.SIGCONT)

    # then the first one ends, and changes nothing
    assert pair.one.process.wait(WRITE_WINDOW) == 1
    assert "lease lost" in pair.one.log
    # What was on its way when it was stopped cannot be called back. An endpoint is
    # taken back with its two directories, each of which is asked for as a key first;
    # a handle or a record alone moves no packet.
    assert len(pair.one.wrote(seen)) <= 1 + 1 + 2 * 2
    with suppress(AssertionError):
        pair.until("all is as it was", lambda: not pair.changed(settled), RESYNC)
    changed = pair.changed(settled)
    assert len(changed) <= 1
    assert all(key.startswith((keys.HANDLES, keys.TASKS)) for key in changed), changed
