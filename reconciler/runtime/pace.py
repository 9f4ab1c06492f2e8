"""How often the same key may be looked at."""

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

_MANY = 1_000


class Pace(Generic[K]):
    """Lets a burst of looks at a key through at once, then one each `every` seconds.

    The generic cell rate algorithm (ITU-T I.371): each look moves the key's
    own time on by `every`, and that time may be ahead of the clock by a burst.
    """

    def __init__(self, *, burst: int, every: float) -> None:
        self._ahead = (burst - 1) * every
        self._every = every
        self._times: dict[K, float] = {}

    def due(self, key: K, now: float) -> float:
        """When the next look at `key` may be: now, or later."""
        return max(now, self._times.get(key, now) - self._ahead)

    def looked(self, key: K, now: float) -> None:
        """Count a look at `key`."""
        if len(self._times) >= _MANY:
            # Whose time has come may have a whole burst: nothing is lost.
            self._times = {each: time for each, time in self._times.items() if time > now}
        self._times[key] = max(self._times.get(key, now), now) + self._every
