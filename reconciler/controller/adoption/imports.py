"""What hosts told and was taken over, and what of it still waits."""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_

from calico.cluster import ObjectionRecord
from calico.datastore.api import DirectoryStore
from reconciler.controller.adoption.importing import Importer, NotImported, without_network
from reconciler.controller.stored import StoredState
from reconciler.core.adoption import Holdings, holdings_of
from reconciler.runtime.clock import Clock

log = logging.getLogger(__name__)

#: Seconds after which claims that nobody could be given are looked at again,
#: where hosts tell the same as before.
RETRY_AFTER = 60.0


@dataclass(frozen=True, slots=True)
class _Import:
    """What came of one host's word, and whether only addresses were taken of it."""

    held: Holdings
    not_imported: NotImported
    addresses_only: bool


class Imports:
    """Takes over what hosts tell, once; one thread owns it."""

    def __init__(self, datastore: DirectoryStore, stored: StoredState, clock: Clock) -> None:
        self._datastore = datastore
        self._stored = stored
        self._clock = clock
        self._done: dict[ObjectionRecord, _Import] = {}
        #: What was told when all of it was looked at last, and when that was.
        self._tried: tuple[frozenset[ObjectionRecord], float] = (frozenset(), 0.0)

    def has(self, record: ObjectionRecord) -> bool:
        """Whether this was taken over, or more than this of the same host."""
        return self._found(record) is not None

    def keep(self, records: Collection[ObjectionRecord]) -> None:
        """Forget all others."""
        found = ((each, self._found(each)) for each in records)
        self._done = {each: done for each, done in found if done is not None}

    def take_over(
        self,
        told: Sequence[ObjectionRecord],
        addresses_only: Callable[[ObjectionRecord], bool],
        checkpoint: Callable[[], None],
    ) -> None:
        """Take over what was told since, and what nobody could be given once a minute.

        Raises CalicoError.
        """
        self.keep(told)
        now, (before, at) = self._clock.monotonic(), self._tried
        is_due = frozenset(told) != before or now - at >= RETRY_AFTER
        pending = [
            each for each in told if not self.has(each) or (is_due and self.not_imported([each]))
        ]
        if not pending:
            return
        self._stored.load(self._datastore)
        importer = Importer(self._datastore, self._stored, list(map(holdings_of, told)))
        for each in pending:
            held, known = holdings_of(each), self._done.get(each)
            only = addresses_only(each) if known is None else known.addresses_only
            take = importer.take_addresses_over if only else importer.take_over
            self._done[each] = _Import(held, take(held, checkpoint), only)
            if known is None:
                log.warning(
                    "taken over from a host",
                    extra={"host": each.host, "endpoints": len(held.endpoints)},
                )
        self._tried = frozenset(told), now

    def not_imported(self, records: Collection[ObjectionRecord]) -> NotImported:
        """What of these nobody could be given."""
        found = (done.not_imported for each in records if (done := self._found(each)) is not None)
        return reduce(or_, found, NotImported())

    def waiting(self, record: ObjectionRecord) -> frozenset[str]:
        """Tasks that the controller has yet to give the network that they have there."""
        done = self._found(record)
        if done is None or not done.addresses_only:
            return frozenset()
        return without_network(done.held, done.not_imported, self._datastore, self._stored)

    def is_addresses_only(self, record: ObjectionRecord) -> bool:
        """Whether its endpoints are the controller's to write."""
        done = self._found(record)
        return done is not None and done.addresses_only

    def _found(self, record: ObjectionRecord) -> _Import | None:
        done = self._done.get(record)
        if done is not None:
            return done
        more = (done for before, done in self._done.items() if _is_less(record, before))
        found = next(more, None)
        return None if found is None else replace(found, held=holdings_of(record))


def _is_less(record: ObjectionRecord, before: ObjectionRecord) -> bool:
    """Whether a host told just this before, and of tasks that have ended since."""
    if record.host != before.host or replace(record, entries=before.entries) != before:
        return False
    return set(record.entries) <= set(before.entries)
