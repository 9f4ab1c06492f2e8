"""A lease so that one controller is active; and a datastore that respects it.

Safety does not rest on it: what two could write differently is written by
compare-and-swap. The lease only keeps two controllers from doing the same
work. `etcd.Lock` is not used: it loses its timeout and renews without a
revision.
"""

import logging
from contextlib import suppress

from calico.cluster import LeaderRecord, Standing
from calico.codec import decode_leader, encode_leader
from calico.datastore.api import (
    ABSENT,
    Datastore,
    DirectoryStore,
    Key,
    Listing,
    Revision,
    Stored,
    Watch,
)
from calico.errors import Conflict, InvalidValue
from reconciler.runtime.clock import Clock, rfc3339

log = logging.getLogger(__name__)

#: Seconds that the key outlives its last renewal.
TTL = 15
#: Seconds after which a key that nobody renewed is nobody's, though it is there: one
#: that was restored from a dump, or written by hand, has no time to live.
DEAD_AFTER = 2.0 * TTL
#: Seconds after a renewal was sent in which the holder may still write.
WRITE_WINDOW = 10.0
#: Seconds between renewals, and between a standby's looks.
RENEW_EVERY = 2.0
#: Seconds between renewals as long as somebody waits for what the next one tells.
RENEW_SOON = 1.0


class LeaseLost(Exception):
    """The write was not sent: the lease may be another's by now.

    No DatastoreError: whoever goes on to the next task after one of those must
    not go on after this.
    """


class Lease:
    """Holds, renews and gives back one key with a time to live.

    One thread calls `keep` and `release`; any thread may ask `held`, since the
    deadline is one float that is replaced whole. `token` is the revision of the
    write that won the lease, of which every later winner has a greater one. A
    store that was set back under the holder ends it: the next write there has a
    revision that had passed. Any thread may replace `standing`, which each
    renewal tells.
    """

    def __init__(self, datastore: Datastore, key: Key, holder: str, clock: Clock) -> None:
        self._datastore = datastore
        self._key = key
        self._holder = holder
        self._clock = clock
        self._revision: Revision | None = None
        self._deadline = float("-inf")
        #: That of the newest write of this holder, the lease's or any other.
        self.newest = Revision(0)
        #: Whether the last write had no answer, so that it may have been done.
        self._unanswered = False
        self._was_set_back = False
        self._since = ""
        #: What another holds, by its revision, and since when that was seen.
        self._seen: tuple[Revision, float] | None = None
        self.standing = Standing()
        self.token: Revision | None = None

    @property
    def held(self) -> bool:
        """Whether a write that starts now may still be sent."""
        return self._clock.monotonic() < self._deadline

    def insist(self) -> None:
        """Raise LeaseLost unless a write that starts now may still be sent."""
        if not self.held:
            raise LeaseLost("a write was not sent: the lease was not renewed in time")

    def keep(self) -> bool:
        """Renew the lease, or try to get it; tells whether it is held.

        One that nobody renews, and that does not expire, is removed, for
        whoever asks next. Raises DatastoreError if the datastore did not
        answer; the deadline stands as it was.
        """
        if self._seen is None and self._put():
            return True
        # Where another leads a look is enough: a write that is refused takes etcd's
        # members as long as one that is done.
        stored = self._datastore.get(self._key)
        if self._is_own(stored) or (stored is None and self._seen is not None):
            # After an own write whose answer was lost, or when the other is gone.
            self._seen = None
            return self._put()
        self._bury(stored)
        return False

    def release(self) -> None:
        """Give the lease back, so that a standby need not wait for its end.

        Nothing may be written from then on, whatever becomes of it. Raises
        DatastoreError; Conflict if it is another's by now.
        """
        self._deadline = float("-inf")
        if self._unanswered:
            # What there is to give back is what was sent last, or else what was
            # before; the holder's name tells whether it is ours at all.
            self._is_own(self._datastore.get(self._key))
        if self._revision is not None:
            self._datastore.delete(self._key, expect=self._revision)
            self._revision = self.token = None

    def note_written(self, revision: Revision, newest: Revision) -> bool:
        """Take a write in, before which `newest` was the newest.

        False, and the lease is lost, if the store has been set back since.
        """
        self.newest = max(self.newest, revision)
        if revision > newest:
            return True
        self._was_set_back = True
        self._lose()
        return False

    def _put(self) -> bool:
        sent, newest = self._clock.monotonic(), self.newest
        if self._revision is None:
            self._since = rfc3339(self._clock.wall())
        value = encode_leader(LeaderRecord(self._holder, self._since, self.standing))
        expect = ABSENT if self._revision is None else self._revision
        self._unanswered = True
        try:
            revision = self._datastore.put(self._key, value, expect=expect, ttl=TTL)
        except Conflict:
            self._unanswered = False
            return False
        self._unanswered = False
        if not self.note_written(revision, newest):
            return False
        self.token = self.token or revision
        self._revision = revision
        self._deadline = sent + WRITE_WINDOW
        return True

    def _bury(self, stored: Stored | None) -> None:
        """Remove what nobody renewed: its holder may not write since long."""
        now = self._clock.monotonic()
        if stored is None or self._seen is None or self._seen[0] != stored.revision:
            self._seen = None if stored is None else (stored.revision, now)
        elif now - self._seen[1] >= DEAD_AFTER:
            # Whoever renews it at this moment keeps it.
            with suppress(Conflict):
                self._datastore.delete(self._key, expect=stored.revision)
                log.warning(
                    "a lease that nobody renewed was removed",
                    extra={
                        "key": self._key,
                        "seconds": round(now - self._seen[1]),
                        "expires": stored.expires,
                    },
                )

    def _is_own(self, stored: Stored | None) -> bool:
        """Whether the key is ours all the same; only then the next write is a renewal."""
        if stored is not None and self._revision is not None:
            # One from before our last renewal is what a backup has of us.
            self._was_set_back |= stored.revision < self._revision
        if stored is not None and self._is_held_by_us(stored.value) and not self._was_set_back:
            self._revision = stored.revision
            # Without a token its first write is the one whose answer was lost.
            self.token = self.token or stored.revision
            return True
        self._lose()
        return False

    def _lose(self) -> None:
        self._revision = self.token = None
        self._deadline = float("-inf")

    def _is_held_by_us(self, value: str) -> bool:
        try:
            return decode_leader(value).holder == self._holder
        except InvalidValue:
            return False


class FencedDatastore:
    """A datastore that sends no write once the lease may be another's.

    Who is stopped just before it sends cannot be kept from sending when it goes
    on: what exists it does not hit, since that has changed, and what it creates
    is to be of no effect by itself.
    """

    def __init__(self, datastore: DirectoryStore, lease: Lease) -> None:
        self._datastore = datastore
        self._lease = lease

    def get(self, key: Key) -> Stored | None:
        """See Datastore."""
        return self._datastore.get(key)

    def list(self, prefix: Key) -> Listing:
        """See Datastore."""
        return self._datastore.list(prefix)

    def put(
        self, key: Key, value: str, *, expect: Revision | None = None, ttl: int | None = None
    ) -> Revision:
        """See Datastore; raises LeaseLost."""
        self._check(key)
        newest = self._lease.newest
        revision = self._datastore.put(key, value, expect=expect, ttl=ttl)
        self._lease.note_written(revision, newest)
        return revision

    def delete(self, key: Key, *, expect: Revision | None = None) -> None:
        """See Datastore; raises LeaseLost."""
        self._check(key)
        self._datastore.delete(key, expect=expect)

    def make_directory(self, key: Key) -> None:
        """See DirectoryStore; raises LeaseLost."""
        self._check(key)
        self._datastore.make_directory(key)

    def watch(self, prefix: Key, after: Revision, timeout: float) -> Watch:
        """See Datastore."""
        return self._datastore.watch(prefix, after, timeout)

    def _check(self, key: Key) -> None:
        if not self._lease.held:
            raise LeaseLost(f"{key} was not written: the lease was not renewed in time")
