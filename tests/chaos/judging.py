"""What a connection may suffer, and what it may not: pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

#: So long after a cut ends, at least, packets are sent again; TCP doubles its
#: waits, so that after a long cut it may wait for as long once more.
RECOVERY_SECONDS = 5.0
#: A connection that stands still for longer, without a cut on its way, suffers.
STALL_LIMIT = 3.0


@dataclass(frozen=True, slots=True)
class CutTime:
    """Two hosts were cut off from each other; `end` is None as long as they are."""

    hosts: frozenset[str]
    begin: float
    end: float | None = None


@dataclass(frozen=True, slots=True)
class Stall:
    """Nothing came back over a connection between tasks of two hosts."""

    hosts: tuple[str, str]
    begin: float
    end: float


def unexcused(stall: Stall, cuts: Iterable[CutTime]) -> float:
    """For how long it stood still though no cut was on its way, nor had just been."""
    times = sorted(
        (
            cut.begin,
            stall.end if cut.end is None else cut.end + max(RECOVERY_SECONDS, cut.end - cut.begin),
        )
        for cut in cuts
        if cut.hosts == frozenset(stall.hosts)
    )
    left, now = 0.0, stall.begin
    for begin, end in times:
        if begin > now:
            left += max(0.0, min(begin, stall.end) - now)
        now = max(now, min(end, stall.end))
    return left + max(0.0, stall.end - now)


def suffers(stall: Stall, cuts: Iterable[CutTime]) -> bool:
    """Whether that is a violation."""
    return unexcused(stall, cuts) > STALL_LIMIT
