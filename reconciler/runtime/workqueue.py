"""Which keys ask for a look, and when.

Owned by one loop thread, hence without a lock. Time and chance are arguments.
"""

import heapq
from collections.abc import Callable, Hashable
from itertools import count
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_BACKOFF = 0.1
LONGEST_BACKOFF = 30.0


class WorkQueue(Generic[K]):
    """Keys with the time they are due; a key waits at most once.

    Adding a key that waits already keeps the earlier time. A key that fails
    comes back after a full-jitter backoff: anywhere between nothing and twice
    the last limit, 30 s at most.
    """

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = count()
        self._failures: dict[K, int] = {}

    def __len__(self) -> int:
        return len(self._due)

    def add(self, key: K, due: float) -> None:
        """Ask for a look at `key`, at `due` or when it was due already."""
        known = self._due.get(key)
        if known is not None and known <= due:
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, next(self._order), key))

    def pop(self, now: float) -> K | None:
        """The key that has been due longest; None if none is due."""
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            # An entry that was overtaken by an earlier one is left in the heap.
            if self._due.get(key) == due:
                del self._due[key]
                return key
        return None

    def next_due(self) -> float | None:
        """When the next key is due; None if none waits."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def failed(self, key: K, now: float) -> float:
        """Let `key` come back later and tell the delay in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        limit = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(failures, 16))
        delay = limit * self._jitter()
        self.add(key, now + delay)
        return delay

    def succeeded(self, key: K) -> None:
        """Forget the failures of `key`."""
        self._failures.pop(key, None)
