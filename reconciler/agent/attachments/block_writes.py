"""What the allocator and the loop know of the datastore's index, told to each other.

The loop is told what the allocator wrote to blocks, and at which index; the
allocator, how far the loop has seen the datastore come.
"""

from collections.abc import Callable
from dataclasses import dataclass

from calico.datastore.api import Datastore, Key, Listing, Revision, Stored, Watch
from calico.errors import DatastoreUnavailable
from calico.keys import BLOCKS
from reconciler.runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class BlockWritten:
    """A block was written at this index of the store, and that was known `at` this time.

    It is monotonic.
    """

    block: Key
    revision: Revision
    at: float = float("inf")


class NotifyingDatastore:
    """A datastore that tells of each block that is written; implements `Datastore`.

    Nothing is listed of one that lacks what was seen: feeds may hear of that later, where
    a server went away without a word.
    """

    def __init__(
        self, datastore: Datastore, tell: Callable[[BlockWritten], None], clock: Clock
    ) -> None:
        self._datastore = datastore
        self._tell = tell
        self._clock = clock
        self._seen = Revision(0)

    def note_seen(self, revision: Revision) -> None:
        """The index up to which the loop knows what it believes; any thread may tell it."""
        self._seen = revision

    def get(self, key: Key) -> Stored | None:
        """See Datastore."""
        return self._datastore.get(key)

    def list(self, prefix: Key) -> Listing:
        """See Datastore."""
        listing = self._datastore.list(prefix)
        if listing.revision < self._seen:
            raise DatastoreUnavailable(
                f"the datastore's index was {self._seen} and is {listing.revision}: it was set back"
            )
        return listing

    def put(
        self, key: Key, value: str, *, expect: Revision | None = None, ttl: int | None = None
    ) -> Revision:
        """See Datastore."""
        revision = self._datastore.put(key, value, expect=expect, ttl=ttl)
        if key.startswith(f"{BLOCKS}/"):
            self._tell(BlockWritten(key, revision, self._clock.monotonic()))
        return revision

    def delete(self, key: Key, *, expect: Revision | None = None) -> None:
        """See Datastore."""
        self._datastore.delete(key, expect=expect)

    def watch(self, prefix: Key, after: Revision, timeout: float) -> Watch:
        """See Datastore."""
        return self._datastore.watch(prefix, after, timeout)
