"""The state of one pair: what should be beside what was measured; pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass

#: A measurement that was heard longer ago says nothing of now. One try of a
#: closed pair takes a second, and as long may pass until the next is heard of.
OLD_SECONDS = 5.0
#: A process may listen a little after its network is ready, and its end is told a
#: little after it: so long is a pair that both hosts have confirmed waited for.
BROKEN_AFTER = 3.0
#: A host tells of mere progress up to ten seconds late, which hides no longer
#: than this what does not work.
BROKEN_UNCONFIRMED_AFTER = 6.0
#: Old groups hold until hosts have followed a change, but a leak that lasts
#: longer than this is told whatever is under way.
LEAK_AFTER = 5.0


class State(enum.StrEnum):
    """The word on one pair; the page has a shape and a colour for each."""

    OK_ALLOWED = "ok-allowed"
    OK_DENIED = "ok-denied"
    LEAK = "LEAK"
    BROKEN = "BROKEN"
    SETTLING = "settling"
    NO_DATA = "no-data"
    #: Nobody says what should be.
    REACHED = "reached"
    NOT_REACHED = "not-reached"

    @property
    def alarming(self) -> bool:
        """True if what is measured is not what should be."""
        return self in (State.LEAK, State.BROKEN)


@dataclass(frozen=True, slots=True)
class Measured:
    """One try: whether it was answered, when it began, when the collector heard of it."""

    reached: bool
    began: float
    heard: float


@dataclass(frozen=True, slots=True)
class Expected:
    """What should be, since when, and whether hosts still have to follow.

    `allowed` is None if nobody says. `waits_for` is empty once both sides are
    in sync; agents may report later that the newest change is `applied`.
    `confirmed` is since when the hosts of both sides have, None if one has not.
    `asked` is when the collector last asked and was told so: what is told may be
    as old as `lag`.
    """

    allowed: bool | None = None
    since: float = 0.0
    waits_for: str = ""
    applied: bool = True
    confirmed: float | None = 0.0
    asked: float = 0.0
    lag: float = 0.0


def judge(
    expected: Expected, measured: Measured | None, differs_since: float | None, now: float
) -> tuple[State, str]:
    """The state and a sentence on it; `differs_since` is since when the two disagree.

    What differs is alarming only if it still does after a later look at what
    should be: a change shows in the kernels before the collector is told of it.
    What is not reached is given the time that a task takes to start and to end;
    what is reached and should not be is told at once, and never excused for long.
    """
    if measured is None:
        return State.NO_DATA, "Nothing was measured yet."
    if now - measured.heard > OLD_SECONDS:
        return State.NO_DATA, "Nothing was measured lately."
    if _leaks_for_long(expected, measured, differs_since, now):
        return State.LEAK, "It is reached for seconds already, and it should not be."
    if expected.waits_for:
        return State.SETTLING, expected.waits_for
    if measured.began < expected.since:
        return State.SETTLING, "It was last measured before the newest change."
    if expected.allowed is None:
        if measured.reached:
            return State.REACHED, "It is reached; nobody says whether it should be."
        return State.NOT_REACHED, "It is not reached; nobody says whether it should be."
    if expected.allowed is measured.reached:
        if measured.reached:
            return State.OK_ALLOWED, "It should be reached, and it is."
        return State.OK_DENIED, "It should not be reached, and it is not."
    if not _told_since(expected, differs_since):
        return State.SETTLING, "It differs from what should be; that is being looked at again."
    if measured.reached:
        if not expected.applied:
            return State.SETTLING, "Agents have not reported the newest change yet."
        return State.LEAK, "It is reached, and it should not be."
    return _judge_silence(expected, measured, differs_since or now, now)


def _leaks_for_long(
    expected: Expected, measured: Measured, differs_since: float | None, now: float
) -> bool:
    """True if it is reached, told to be denied, and was both for longer than a change takes."""
    return (
        expected.allowed is False
        and measured.reached
        and differs_since is not None
        and measured.began > differs_since
        and now - differs_since > LEAK_AFTER
        and _told_since(expected, differs_since)
    )


def _told_since(expected: Expected, differs_since: float | None) -> bool:
    return differs_since is not None and expected.asked - expected.lag >= differs_since


def _judge_silence(
    expected: Expected, measured: Measured, differs_since: float, now: float
) -> tuple[State, str]:
    """Of what should be reached and is not: whether it only starts, or ends."""
    lasted = now - max(differs_since, expected.since)
    confirmed = expected.confirmed is not None and measured.began >= expected.confirmed
    if not confirmed and lasted < BROKEN_UNCONFIRMED_AFTER:
        return State.SETTLING, "It starts: not every host on the way has confirmed it yet."
    if lasted < BROKEN_AFTER:
        return State.SETTLING, "It is not reached just now: one of the two may start or end."
    return State.BROKEN, "It should be reached, and it is not."
