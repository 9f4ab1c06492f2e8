"""A datastore that an agent cannot rely on."""

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from calico.datastore.api import Key
from calico.datastore.memory import MemoryDatastore
from calico.errors import Conflict, DatastoreUnavailable
from tests.delegating_store import DelegatingStore

T = TypeVar("T")


class FlakyStore(DelegatingStore):
    """A datastore that can be cut off, and counts its writes.

    While it is `slow`, writes are not answered, and done only when they `land`.
    """

    def __init__(self, store: MemoryDatastore) -> None:
        super().__init__(store)
        self.reachable = True
        self.slow = False
        self.writes: list[Key] = []
        self._under_way: list[Callable[[], object]] = []

    def read(self, verb: str, key: Key, read: Callable[[], T]) -> T:
        self._expect_reachable()
        return super().read(verb, key, read)

    def write(self, verb: str, key: Key, write: Callable[[], T]) -> T:
        self._expect_reachable()
        self.writes.append(key)
        self._delay(write)
        return super().write(verb, key, write)

    def land(self) -> None:
        """Do what was under way; nobody hears what came of it."""
        for write in self._under_way:
            with suppress(Conflict):
                write()
        self._under_way.clear()

    def _delay(self, write: Callable[[], object]) -> None:
        if self.slow:
            self._under_way.append(write)
            raise DatastoreUnavailable("http://127.0.0.1:1 does not answer in time")

    def _expect_reachable(self) -> None:
        if not self.reachable:
            raise DatastoreUnavailable("http://127.0.0.1:1 does not answer")
