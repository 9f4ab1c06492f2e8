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

    Nothing is read of one that lacks what was seen, or written here: feeds may hear of
    that later, where a server went away without a word.
    """

    def __init__(
        self, datastore: Datastore, tell: Callable[[BlockWritten], None], clock: Clock
    ) -> None:
        self._datastore = datastore
        self._tell = tell
        self._clock = clock
        self._seen = Revision(0)
        self._written: dict[Key, Revision] = {}
        self._was_doubted = False

    def note_seen(self, revision: Revision) -> None:
        """The index up to which the loop knows what it believes; any thread may tell it."""
        self._seen = revision

    def note_doubt(self, why: str) -> None:
        """What was written may be of another store, if there is a reason; any thread may tell."""
        if why:
            self._was_doubted = True

    def get(self, key: Key) -> Stored | None:
        """See Datastore."""
        stored = self._datastore.get(key)
        if stored is not None:
            self._expect_written(stored)
        return stored

    def list(self, prefix: Key) -> Listing:
        """See Datastore."""
        listing = self._datastore.list(prefix)
        if listing.revision < self._seen:
            raise DatastoreUnavailable(
                f"the datastore's index was {self._seen} and is {listing.revision}: it was set back"
            )
        for stored in listing.entries:
            self._expect_written(stored)
        return listing

    def put(
        self, key: Key, value: str, *, expect: Revision | None = None, ttl: int | None = None
    ) -> Revision:
        """See Datastore."""
        revision = self._datastore.put(key, value, expect=expect, ttl=ttl)
        if key.startswith(f"{BLOCKS}/"):
            self._written[key] = revision
            self._tell(BlockWritten(key, revision, self._clock.monotonic()))
        return revision

    def delete(self, key: Key, *, expect: Revision | None = None) -> None:
        """See Datastore."""
        self._datastore.delete(key, expect=expect)

    def watch(self, prefix: Key, after: Revision, timeout: float) -> Watch:
        """See Datastore."""
        return self._datastore.watch(prefix, after, timeout)

    def _expect_written(self, stored: Stored) -> None:
        if self._was_doubted:
            # In this order: another thread may tell of a doubt meanwhile.
            self._was_doubted = False
            self._written = {}
        written = self._written.get(stored.key, stored.revision)
        if stored.revision < written:
            raise DatastoreUnavailable(
                f"{stored.key} is told as of the datastore's index {stored.revision}, and was"
                f" written at {written}: it was set back"
            )
