"""A store that loses the answer to a write.

Before a real etcd a door of `tests.faults` does.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from calico.datastore.api import DirectoryStore, Key
from calico.errors import DatastoreUnavailable
from tests.delegating_store import DelegatingStore

T = TypeVar("T")


class Fault(Protocol):
    """What loses replies: counts writes, and swallows the answer to one of them."""

    writes: int
    swallow: int | None


class LossyStore(DelegatingStore):
    """A store whose write number `swallow` is done and not answered; numbers begin at 0."""

    def __init__(self, store: DirectoryStore) -> None:
        super().__init__(store)
        self.writes = 0
        self.swallow: int | None = None

    def write(self, verb: str, key: Key, write: Callable[[], T]) -> T:
        number, self.writes = self.writes, self.writes + 1
        # A lost race is an answer too, and lost like any other.
        try:
            return super().write(verb, key, write)
        finally:
            if number == self.swallow:
                raise DatastoreUnavailable("the answer was lost")
