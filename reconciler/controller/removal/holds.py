"""What waits for an operator's word, where operators see it."""

import logging
from collections.abc import Collection

from calico.cluster import HoldKind, HoldRecord
from calico.codec import decode_hold, encode_hold
from calico.datastore.api import ABSENT, Datastore, Revision
from calico.errors import InvalidValue
from calico.keys import HOLD, hold_key, parse_hold_key
from reconciler.core.removal.held import is_approved, plan_name, remedy
from reconciler.runtime.clock import Clock, rfc3339

log = logging.getLogger(__name__)


class Holds:
    """The holds as last read or written; one thread owns it.

    Like `StoredState` it is a cache, and every write a compare-and-swap: what
    is stale here costs a Conflict, and never an approval that came meanwhile.
    """

    def __init__(self, datastore: Datastore, clock: Clock) -> None:
        self._datastore = datastore
        self._clock = clock
        self._records: dict[HoldKind, HoldRecord] = {}
        #: Also of what cannot be read, which a hold of its kind replaces.
        self._revisions: dict[HoldKind, Revision] = {}

    @property
    def records(self) -> tuple[HoldRecord, ...]:
        """What waits, by kind."""
        if not self._records:
            return ()
        return tuple(self._records[kind] for kind in HoldKind if kind in self._records)

    def load(self) -> None:
        """Read what waits, and what was approved since; raises DatastoreError."""
        records: dict[HoldKind, HoldRecord] = {}
        revisions: dict[HoldKind, Revision] = {}
        for stored in self._datastore.list(HOLD).entries:
            kind = parse_hold_key(stored.key)
            if kind is None:
                continue
            revisions[kind] = stored.revision
            try:
                records[kind] = decode_hold(kind, stored.value)
            except InvalidValue as error:
                log.warning("hold cannot be read", extra={"kind": kind.value, "why": str(error)})
        self._records, self._revisions = records, revisions

    def approved_plan(self, kind: HoldKind) -> str | None:
        """The plan of this kind that waits and was approved, None for none.

        An approval of anything but what waits now does not count.
        """
        record = self._records.get(kind)
        return None if record is None or not is_approved(record) else record.plan

    def approves(self, kind: HoldKind, subjects: Collection[str]) -> bool:
        """Whether an operator let exactly these go."""
        return self.approved_plan(kind) == plan_name(kind, subjects)

    def hold(self, kind: HoldKind, subjects: Collection[str], reason: str) -> None:
        """Tell that these wait; other subjects than before need an approval of their own.

        Raises CalicoError.
        """
        plan = plan_name(kind, subjects)
        before = self._records.get(kind)
        if before is not None and before.plan == plan:
            return
        since = before.since if before is not None else rfc3339(self._clock.wall())
        record = HoldRecord(kind, plan, reason, tuple(sorted(subjects)), since)
        expect = self._revisions.get(kind, ABSENT)
        revision = self._datastore.put(hold_key(kind), encode_hold(record), expect=expect)
        self._records[kind], self._revisions[kind] = record, revision
        log.error(
            "held for an operator's approval",
            extra={
                "kind": kind.value,
                "count": len(subjects),
                "why": reason,
                "remedy": remedy(record),
            },
        )

    def end(self, kind: HoldKind) -> None:
        """Nothing of this kind waits any more; its approval ends with it. Raises CalicoError."""
        revision = self._revisions.get(kind)
        if revision is None:
            return
        self._datastore.delete(hold_key(kind), expect=revision)
        self._records.pop(kind, None)
        del self._revisions[kind]
        log.info("hold ended", extra={"kind": kind.value})
