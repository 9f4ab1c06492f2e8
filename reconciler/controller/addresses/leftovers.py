"""Mends what a crash between two writes left in the books of addresses."""

import logging
from dataclasses import dataclass
from typing import assert_never

from calico.addressing.audit import (
    AbandonedBlock,
    DanglingAffinity,
    Drift,
    Miscounted,
    UnlistedBlock,
    drifts,
    is_ours,
)
from calico.addressing.books import Books, decode_books
from calico.addressing.ledger import Ledger
from calico.datastore.api import ABSENT, Datastore, Revision
from calico.errors import Conflict, InvalidName
from calico.keys import IPAM, affinity_key, block_key, handle_key
from calico.model import HandleId
from reconciler.controller.stored import StoredState
from reconciler.core.removal.quarantine import REST
from reconciler.runtime.clock import Clock

log = logging.getLogger(__name__)

#: Seconds between two looks: all handles are read for one.
LOOK_EVERY = 60.0


@dataclass(frozen=True, slots=True)
class _Seen:
    """A drift, and the revision of the key that is to be mended."""

    drift: Drift
    revision: Revision


class Leftovers:
    """Knows since when books do not agree; one thread owns it.

    What is written just now looks the same for an instant. So only what has
    not changed for as long as an address rests is mended, and only if that
    is ours: handles that we wrote, hosts whose agents are ours.
    """

    def __init__(self, datastore: Datastore, stored: StoredState, clock: Clock) -> None:
        self._datastore = datastore
        self._stored = stored
        self._clock = clock
        self._ledger = Ledger(datastore)
        self._since: dict[_Seen, float] = {}
        self._next_look = clock.monotonic()

    def mend(self) -> int:
        """Look if it is time, and tell how much was mended; raises DatastoreError."""
        now = self._clock.monotonic()
        if now < self._next_look:
            return 0
        self._next_look = now + LOOK_EVERY
        books = decode_books(self._datastore.list(IPAM).entries)
        ours = (each for each in drifts(books) if self._is_ours(each))
        seen = [_Seen(each, _revision(books, each)) for each in ours]
        self._since = {each: self._since.get(each, now) for each in seen}
        mended = 0
        for each, since in list(self._since.items()):
            if now - since >= REST and self._mend(each, books):
                del self._since[each]
                mended += 1
        return mended

    def _is_ours(self, drift: Drift) -> bool:
        if isinstance(drift, Miscounted) and not _has_key(drift.handle):
            return False
        return is_ours(
            drift, self._stored.registrations.names() | self._stored.registrations.forgotten
        )

    def _mend(self, seen: _Seen, books: Books) -> bool:
        """Write it as it should be, unless somebody else writes too."""
        try:
            self._write(seen, books)
        except Conflict:
            return False
        log.info("books mended", extra={"drift": seen.drift})
        return True

    def _write(self, seen: _Seen, books: Books) -> None:
        drift, revision = seen.drift, seen.revision
        match drift:
            case Miscounted(handle, block, _, held):
                known = books.handles.get(handle)
                counts = {**(known.counts if known else {}), block: held}
                self._ledger.set_counts(handle, counts, revision)
            case DanglingAffinity(host, block):
                self._datastore.delete(affinity_key(host, block), expect=revision)
            case UnlistedBlock(host, block):
                self._datastore.put(affinity_key(host, block), "", expect=revision)
            case AbandonedBlock(block):
                self._datastore.delete(block_key(block), expect=revision)
            case _:
                assert_never(drift)


def _has_key(handle: HandleId) -> bool:
    """Whether such a handle can be; a block may name any."""
    try:
        handle_key(handle)
    except InvalidName:
        return False
    return True


def _revision(books: Books, drift: Drift) -> Revision:
    match drift:
        case Miscounted(handle):
            key = handle_key(handle)
        case DanglingAffinity(host, block) | UnlistedBlock(host, block):
            key = affinity_key(host, block)
        case AbandonedBlock(block):
            key = block_key(block)
        case _:
            assert_never(drift)
    return books.revisions.get(key, ABSENT)
