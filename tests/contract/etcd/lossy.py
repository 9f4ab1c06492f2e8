"""Stores that stand before another one, and spoil its writes.

Before a real etcd a door of `tests.faults` does.
"""

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from calico.datastore.api import DirectoryStore, Key, Listing, Revision, Stored, WatchEvent
from calico.errors import DatastoreUnavailable

T = TypeVar("T")


class Fault(Protocol):
    """What loses replies: counts writes, and swallows the answer to one of them."""

    writes: int
    swallow: int | None


class PassingStore:
    """Passes all on to a store; `write` is what becomes of each write."""

    def __init__(self, store: DirectoryStore) -> None:
        self._store = store

    def get(self, key: Key) -> Stored | None:
        return self._store.get(key)

    def list(self, prefix: Key) -> Listing:
        return self._store.list(prefix)

    def put(
        self, key: Key, value: str, *, expect: Revision | None = None, ttl: int | None = None
    ) -> Revision:
        return self.write(lambda: self._store.put(key, value, expect=expect, ttl=ttl))

    def delete(self, key: Key, *, expect: Revision | None = None) -> None:
        self.write(lambda: self._store.delete(key, expect=expect))

    def make_directory(self, key: Key) -> None:
        self.write(lambda: self._store.make_directory(key))

    def watch(self, prefix: Key, after: Revision, timeout: float) -> Iterator[WatchEvent]:
        return self._store.watch(prefix, after, timeout)

    def write(self, write: Callable[[], T]) -> T:
        return write()


class LossyStore(PassingStore):
    """A store whose write number `swallow` is done and not answered; numbers begin at 0."""

    def __init__(self, store: DirectoryStore) -> None:
        super().__init__(store)
        self.writes = 0
        self.swallow: int | None = None

    def write(self, write: Callable[[], T]) -> T:
        number, self.writes = self.writes, self.writes + 1
        # A lost race is an answer too, and lost like any other.
        try:
            return write()
        finally:
            if number == self.swallow:
                raise DatastoreUnavailable("the answer was lost")
