"""When all of the datastore is read anew, because it refused a write."""

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

#: Seconds until the read that a first conflict asks for.
SOON = 2.0
#: Seconds until it at most: timed lists read all of it as often.
LATE = 60.0


class Reloads(Generic[K]):
    """Reads are asked for soon, and ever later by a key which they do not help.

    A value that others changed is known after one read. What no read mends is
    a key of the wrong shape, as a directory where a value should be.
    """

    def __init__(self) -> None:
        #: Keys whose writes were refused since the last read.
        self._asking: set[K] = set()
        #: Of each key that failed on, how many reads it asked for.
        self._in_vain: dict[K, int] = {}

    def due(self, key: K, now: float) -> float:
        """When to read anew, a write for `key` having been refused."""
        self._asking.add(key)
        return now + min(LATE, SOON * 2.0 ** min(self._in_vain.get(key, 0), 16))

    def done(self) -> None:
        """All of it was read."""
        for key in self._asking:
            self._in_vain[key] = self._in_vain.get(key, 0) + 1
        self._asking.clear()

    def succeeded(self, key: K) -> None:
        """What there was to write for `key` is written."""
        self._asking.discard(key)
        self._in_vain.pop(key, None)
