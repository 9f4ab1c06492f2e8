"""A datastore whose emptiness is believed only while it says that it is complete.

A store that was wiped, or is still being filled, lists little and means
nothing by it. Names would vanish, so its lists are not handed on: what was
known is served until it is ready.
"""

from calico.datastore.api import (
    Datastore,
    Key,
    Listing,
    Removed,
    Revision,
    Stored,
    Watch,
    WatchEvents,
)
from calico.errors import DatastoreUnavailable, HistoryLost
from calico.keys import READY


class BelievedDatastore:
    """Lists and watches as another does, while that one is ready."""

    def __init__(self, datastore: Datastore) -> None:
        self._datastore = datastore

    def get(self, key: Key) -> Stored | None:
        """See Datastore."""
        return self._datastore.get(key)

    def list(self, prefix: Key) -> Listing:
        """See Datastore; raises DatastoreUnavailable while it is not ready."""
        listing = self._datastore.list(prefix)
        # Asked afterwards: what was wiped before it listed is not ready now.
        ready = self._datastore.get(READY)
        if ready is None or ready.value.strip() != "true":
            raise DatastoreUnavailable(
                f"{READY} is not true: the datastore is empty or still being filled"
            )
        return listing

    def put(
        self, key: Key, value: str, *, expect: Revision | None = None, ttl: int | None = None
    ) -> Revision:
        """See Datastore."""
        return self._datastore.put(key, value, expect=expect, ttl=ttl)

    def delete(self, key: Key, *, expect: Revision | None = None) -> None:
        """See Datastore."""
        self._datastore.delete(key, expect=expect)

    def watch(self, prefix: Key, after: Revision, timeout: float) -> Watch:
        """See Datastore; that all is gone at once has to be read from a list."""
        events = WatchEvents(self._datastore.watch(prefix, after, timeout))
        for event in events:
            if isinstance(event, Removed) and f"{prefix}/".startswith(f"{event.key}/"):
                raise HistoryLost(f"{event.key} was removed whole")
            yield event
        return events.reached
