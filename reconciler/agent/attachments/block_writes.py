"""Lets the loop know what the allocator wrote to blocks, and at which index."""

from collections.abc import Callable
from dataclasses import dataclass

from calico.datastore.api import Datastore, Key, Listing, Revision, Stored, Watch
from calico.keys import BLOCKS


@dataclass(frozen=True, slots=True)
class BlockWritten:
    """A block was written at this index of the store."""

    block: Key
    revision: Revision


class NotifyingDatastore:
    """A datastore that tells of each block that is written; implements `Datastore`."""

    def __init__(self, datastore: Datastore, tell: Callable[[BlockWritten], None]) -> None:
        self._datastore = datastore
        self._tell = tell

    def get(self, key: Key) -> Stored | None:
        """See Datastore."""
        return self._datastore.get(key)

    def list(self, prefix: Key) -> Listing:
        """See Datastore."""
        return self._datastore.list(prefix)

    def put(
        self, key: Key, value: str, *, expect: Revision | None = None, ttl: int | None = None
    ) -> Revision:
        """See Datastore."""
        revision = self._datastore.put(key, value, expect=expect, ttl=ttl)
        if key.startswith(f"{BLOCKS}/"):
            self._tell(BlockWritten(key, revision))
        return revision

    def delete(self, key: Key, *, expect: Revision | None = None) -> None:
        """See Datastore."""
        self._datastore.delete(key, expect=expect)

    def watch(self, prefix: Key, after: Revision, timeout: float) -> Watch:
        """See Datastore."""
        return self._datastore.watch(prefix, after, timeout)
