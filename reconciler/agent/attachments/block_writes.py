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


@dataclass(frozen=True, slots=True)
class BlockRefused:
    """Why no address is given out of a block as it is read; empty once it is believed again."""

    block: Key
    why: str


class NotifyingDatastore:
    """A datastore that tells of each block that is written; implements `Datastore`.

    Nothing is read of one that lacks what was seen, or written here: feeds may hear of
    that later, where a server went away without a word, or never, as long as a watch
    goes on in what answers by now. So they are to read all anew then.
    """

    def __init__(
        self,
        datastore: Datastore,
        tell: Callable[[BlockWritten | BlockRefused], None],
        clock: Clock,
        read_anew: Callable[[], None] = lambda: None,
    ) -> None:
        self._datastore = datastore
        self._tell = tell
        self._clock = clock
        self._read_anew = read_anew
        self._seen = Revision(0)
        self._written: dict[Key, Revision] = {}
        self._refused: set[Key] = set()
        self._was_judged = False

    def note_seen(self, revision: Revision) -> None:
        """The index up to which the loop knows what it believes; any thread may tell it."""
        self._seen = revision

    def note_judged(self) -> None:
        """The loop knows by all blocks whether what was written is lost; any thread may tell."""
        self._was_judged = True

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
        if self._was_judged:
            # In this order: another thread may tell of a judgement meanwhile.
            self._was_judged = False
            self._written = {}
        written = self._written.get(stored.key, stored.revision)
        if stored.revision < written:
            why = (
                f"{stored.key} is told as of the datastore's index {stored.revision}, and was"
                f" written at {written}: it was set back"
            )
            self._refused.add(stored.key)
            self._tell(BlockRefused(stored.key, why))
            self._read_anew()
            raise DatastoreUnavailable(why)
        if stored.key in self._refused:
            self._refused.discard(stored.key)
            self._tell(BlockRefused(stored.key, ""))
