"""Time and chance as arguments: the real ones, and a clock that tests turn by hand."""

import random
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Two times: one to measure with, one to show to people."""

    def monotonic(self) -> float:
        """Seconds since some start; never goes back."""
        ...

    def wall(self) -> datetime:
        """The date and time in UTC; for people and for nothing else."""
        ...


class SystemClock:
    """The clock of this machine."""

    def monotonic(self) -> float:
        """See Clock; the time in which the machine was suspended counts as well.

        Else the holder of a lease would wake up and take it for its own.
        """
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall(self) -> datetime:
        """See Clock."""
        return datetime.now(UTC)


#: It has no state, so one serves all.
SYSTEM_CLOCK = SystemClock()


class ManualClock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self._elapsed = 0.0

    def monotonic(self) -> float:
        """Seconds that were let pass."""
        return self._elapsed

    def wall(self) -> datetime:
        """The first of January 2016, and what was let pass since."""
        return datetime(2016, 1, 1, tzinfo=UTC) + timedelta(seconds=self._elapsed)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._elapsed += seconds


def random_fraction() -> float:
    """A random fraction from 0 up to 1."""
    return random.random()


def rfc3339(moment: datetime) -> str:
    """The text form of a time in the datastore and in JSON, to the second."""
    return moment.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
