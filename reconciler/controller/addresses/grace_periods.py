"""How long something has been so, from when it was first looked at."""

from collections.abc import Callable, Collection, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

#: As many are remembered; the oldest go first.
MOST = 100_000


class GracePeriods(Generic[K]):
    """Since when each thing is waited for; one thread owns it."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._since: dict[K, float] = {}

    def lasts(self, thing: K, seconds: float) -> bool:
        """Whether it is waited for less than so long; the first look starts it."""
        now = self._now()
        since = self._since.setdefault(thing, now)
        if len(self._since) > MOST:
            del self._since[next(iter(self._since))]
        return now - since < seconds

    def keep(self, things: Collection[K]) -> None:
        """Forget all others: their wait has ended."""
        self._since = {thing: since for thing, since in self._since.items() if thing in things}
