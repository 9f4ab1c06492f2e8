"""A datastore in memory with etcd's semantics, for tests and the demo."""

import threading
import time
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from calico.datastore.api import Key, Listing, Put, Removed, Revision, Stored, Watch, WatchEvent
from calico.errors import Conflict, DatastoreUnavailable, HistoryLost
from calico.keys import check_key

#: etcd's v2 store remembers so many events, of all keys together.
HISTORY = 1000


@dataclass(frozen=True, slots=True)
class Backup:
    """What a store held at one moment, without times to live."""

    leaves: Mapping[str, Stored] = field(default_factory=dict)
    directories: frozenset[str] = frozenset()
    revision: int = 0


def _revision(event: WatchEvent) -> Revision:
    return event.stored.revision if isinstance(event, Put) else event.revision


def _is_below(key: str, prefix: str) -> bool:
    return key.startswith(prefix + "/")


def _parents(key: str) -> list[str]:
    parts = key.split("/")
    return ["/".join(parts[:count]) for count in range(2, len(parts))]


class MemoryDatastore:
    """One store, shared by as many threads as like.

    Directories come into being with the first key below them and stay when
    the last one goes, as in etcd. Expiry is noticed by the next operation.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic, history: int = HISTORY) -> None:
        """`now` is what times to live are measured by; `history` events are remembered."""
        self._now = now
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._leaves: dict[str, Stored] = {}
        #: The keys of the leaves, in order.
        self._ordered: list[str] = []
        self._expiry: dict[str, float] = {}
        #: Nothing expires before.
        self._next_expiry = float("inf")
        self._directories: set[str] = set()
        self._revision = 0
        # Every revision is one event, so the history has no holes.
        self._history: deque[WatchEvent] = deque(maxlen=history)
        self._listeners: list[Callable[[WatchEvent], None]] = []

    def get(self, key: Key) -> Stored | None:
        """The newest value; None if the key does not exist."""
        check_key(key)
        with self._lock:
            self._expire()
            return self._leaves.get(key)

    def list(self, prefix: Key) -> Listing:
        """Every key below a prefix; an absent prefix is empty."""
        check_key(prefix)
        with self._lock:
            self._expire()
            entries = tuple(map(self._leaves.__getitem__, self._below(prefix)))
            return Listing(Revision(self._revision), entries)

    def put(
        self,
        key: Key,
        value: str,
        *,
        expect: Revision | None = None,
        ttl: int | None = None,
    ) -> Revision:
        """Write a value and tell its revision; Conflict if `expect` does not hold."""
        check_key(key)
        with self._lock:
            self._expire()
            leaf = self._leaves.get(key)
            found = 0 if leaf is None else leaf.revision
            if expect is not None and expect != found:
                raise Conflict(f"{key} has revision {found}, not {expect}")
            if key in self._directories:
                raise Conflict(f"{key} is a directory")
            parents = _parents(key)
            for parent in parents:
                if parent in self._leaves:
                    raise Conflict(f"{parent} is not a directory")
            self._directories.update(parents)
            revision = self._next()
            if leaf is None:
                insort(self._ordered, key)
            stored = self._leaves[key] = Stored(key, value, revision, ttl is not None)
            self._expiry.pop(key, None)
            if ttl is not None:
                self._expiry[key] = self._now() + ttl
                self._next_expiry = min(self._next_expiry, self._expiry[key])
            self._tell(Put(stored))
            return revision

    def delete(self, key: Key, *, expect: Revision | None = None) -> None:
        """Remove a key, or a directory that is empty."""
        check_key(key)
        with self._lock:
            self._expire()
            if key in self._directories:
                self._delete_directory(key, expect)
                return
            leaf = self._leaves.get(key)
            if leaf is None:
                return
            if expect is not None and leaf.revision != expect:
                raise Conflict(f"{key} has revision {leaf.revision}, not {expect}")
            self._remove(key)

    def make_directory(self, key: Key) -> None:
        """Have an empty directory, or whatever is there already."""
        check_key(key)
        with self._lock:
            self._expire()
            above = _parents(key)
            if key not in self._leaves and not any(each in self._leaves for each in above):
                self._directories.update((*above, key))

    def watch(self, prefix: Key, after: Revision, timeout: float) -> Watch:
        """Events at or below a prefix after a revision, until none came for `timeout`."""
        check_key(prefix)
        seen = after
        while True:
            with self._lock:
                self._expire()
                if self._revision < seen:
                    raise DatastoreUnavailable(f"it is at {self._revision}, and {seen} was seen")
                reached = Revision(max(seen, self._revision))
            event = self._await(prefix, seen, timeout)
            if event is None:
                return reached
            seen = _revision(event)
            yield event

    def first_after(self, prefix: Key, seen: Revision) -> WatchEvent | None:
        """The first event at or below a prefix after a revision, without waiting.

        Raises HistoryLost.
        """
        with self._lock:
            self._expire()
            return self._first_after(prefix, seen)

    def backup(self) -> Backup:
        """Everything that is held now."""
        with self._lock:
            leaves = dict(self._leaves)
            leaves |= {key: replace(leaves[key], expires=False) for key in self._expiry}
            return Backup(leaves, frozenset(self._directories), self._revision)

    def restore(self, backup: Backup) -> None:
        """Hold what was held then, with the revision of then, and remember no event."""
        with self._lock:
            self._leaves = dict(backup.leaves)
            self._ordered = sorted(self._leaves)
            self._directories = set(backup.directories)
            self._revision = backup.revision
            self._expiry.clear()
            self._history.clear()

    def listen(self, hear: Callable[[WatchEvent], None]) -> None:
        """Have every event told from now on, by whoever makes it."""
        self._listeners.append(hear)

    def remove_tree(self, key: Key) -> None:
        """What an operator's recursive delete does: one event for the whole directory."""
        check_key(key)
        with self._lock:
            self._expire()
            if key not in self._directories:
                return
            for each in self._below(key):
                self._drop(each)
            self._directories -= {each for each in self._directories if _is_below(each, key)}
            self._remove_directory(key)

    def _delete_directory(self, key: Key, expect: Revision | None) -> None:
        inside = self._below(key) or any(_is_below(each, key) for each in self._directories)
        if inside or expect is not None:
            raise Conflict(f"{key} is a directory")
        self._remove_directory(key)

    def _remove_directory(self, key: Key) -> None:
        self._directories.discard(key)
        self._tell(Removed(key, self._next()))

    def _below(self, prefix: str) -> Sequence[str]:
        """The keys of leaves below a prefix, in order."""
        # "0" is what follows "/".
        first = bisect_left(self._ordered, prefix + "/")
        return self._ordered[first : bisect_left(self._ordered, prefix + "0", first)]

    def _drop(self, key: str) -> None:
        del self._leaves[key]
        del self._ordered[bisect_left(self._ordered, key)]
        self._expiry.pop(key, None)

    def _remove(self, key: str) -> None:
        self._drop(key)
        self._tell(Removed(Key(key), self._next()))

    def _next(self) -> Revision:
        self._revision += 1
        return Revision(self._revision)

    def _tell(self, event: WatchEvent) -> None:
        self._history.append(event)
        for hear in self._listeners:
            hear(event)
        self._changed.notify_all()

    def _expire(self) -> None:
        now = self._now()
        if now < self._next_expiry:
            return
        due = [(expires, key) for key, expires in self._expiry.items() if expires <= now]
        for _, key in sorted(due):
            self._remove(key)
        self._next_expiry = min(self._expiry.values(), default=float("inf"))

    def _await(self, prefix: Key, seen: Revision, timeout: float) -> WatchEvent | None:
        deadline = time.monotonic() + timeout
        with self._lock:
            while True:
                self._expire()
                event = self._first_after(prefix, seen)
                left = deadline - time.monotonic()
                if event is not None or left <= 0:
                    return event
                self._changed.wait(min(left, self._until_next_expiry()))

    def _first_after(self, prefix: Key, seen: Revision) -> WatchEvent | None:
        if not self._history or seen >= self._revision:
            return None
        oldest = _revision(self._history[0])
        if seen + 1 < oldest:
            raise HistoryLost(f"events since revision {seen} are gone, the oldest is {oldest}")
        below = f"{prefix}/"
        for event in islice(self._history, seen + 1 - oldest, None):
            if isinstance(event, Put):
                key = event.stored.key
            else:
                key = event.key
                if below.startswith(f"{key}/"):
                    return event
            if key == prefix or key.startswith(below):
                return event
        return None

    def _until_next_expiry(self) -> float:
        left = min(self._expiry.values(), default=self._now() + 60) - self._now()
        return max(0.01, left)
