"""etcd in memory: one store, and one faulty connection to it for each process."""

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass

from calico.datastore.api import Key, Listing, Put, Revision, Stored, Watch, WatchEvent
from calico.datastore.memory import Backup, MemoryDatastore
from calico.errors import CalicoError, DatastoreUnavailable
from calico.keys import LEADER, parse_endpoint_key
from calico.model import HostName
from tests.simulation.doors import Door
from tests.simulation.faults import WRITES, Fault, FaultKind
from tests.simulation.scheduler import Scheduler, Thread

#: Events that are remembered. The real one keeps 1,000; fewer are lost sooner,
#: on the same way through the code.
WINDOW = 60
ROOTS = (Key("/calico"), Key("/marathon-calico"))
#: Seconds by which a key with a time to live runs out too late, or too early.
LATE_BY = (0, 0, 0, 5, -4)
#: Seconds after which who is cut off notices.
TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Write:
    """One write that arrived, by whom, and whether it was conditional.

    It was `sent` when whoever sent it knew nothing later.
    """

    process: str
    key: Key
    value: str | None
    conditional: bool
    before: str | None
    sent: float = 0.0


class EtcdTwin:
    """The store itself, and who waits for its events."""

    def __init__(self, scheduler: Scheduler, chance: random.Random) -> None:
        self._scheduler = scheduler
        self._chance = chance
        self._late_by: tuple[int, ...] = (0,)
        self.now = scheduler.now
        self.store = MemoryDatastore(scheduler.now, WINDOW)
        self.store.listen(self._hear)
        self.newest = Revision(0)
        self._expiries: dict[Key, float] = {}
        self._waiting: dict[Key, dict[Thread, None]] = {}
        #: Writes under way that nobody waits for any more, by when they arrive.
        self._late: list[tuple[float, Callable[[], None]]] = []
        #: When something happens here although nobody asks.
        self.soonest = float("inf")
        self._backups: list[tuple[float, Backup]] = []
        #: How often every connection broke.
        self.breaks = 0
        #: Told of every write of a client, once it is done.
        self.hear_write: Callable[[Write], None] = lambda _: None
        #: Told of every key that changes.
        self.hear_key: Callable[[Key], None] = lambda _: None

    @property
    def expects_writes(self) -> bool:
        """Whether a write is still under way that nobody waits for."""
        return bool(self._late)

    def _plan(self) -> None:
        times = [*self._expiries.values(), *(due for due, _ in self._late)]
        self.soonest = min(times, default=float("inf"))

    def settle(self) -> None:
        """Let happen what is due."""
        now = self._scheduler.now()
        if any(due <= now for due, _ in self._late):
            arrived = [write for due, write in self._late if due <= now]
            self._late = [(due, write) for due, write in self._late if due > now]
            for write in arrived:
                write()
        gone = [key for key, due in self._expiries.items() if due <= now]
        for key in gone:
            del self._expiries[key]
            self.store.get(key)
        self._plan()

    def begin_faults(self) -> None:
        """From now on keys live longer or shorter than they should."""
        self._late_by = LATE_BY

    def end_faults(self) -> None:
        """From now on nothing goes wrong."""
        self._late_by = (0,)

    def write_late(self, seconds: float, write: Callable[[], None]) -> None:
        """Have a write arrive when whoever sent it no longer waits."""
        self._late.append((self._scheduler.now() + seconds, write))
        self._plan()

    def back_up(self) -> None:
        """Keep what is held now, for a restore."""
        self._backups.append((self._scheduler.now(), self.store.backup()))

    def restore(self, seconds_old: float, deaf: Collection[HostName] = ()) -> None:
        """Hold what was held then, or nothing; every connection breaks.

        Nothing also if a `deaf` host would lose an endpoint: one that heard too little
        may take an older self of the store for the true one (docs/restore.md).
        """
        then = self._scheduler.now() - seconds_old
        found = [backup for made, backup in self._backups if made <= then]
        keys = self._keys()
        backup = found[-1] if found else Backup()
        lost = (parse_endpoint_key(key) for key in keys if key not in backup.leaves)
        if any(endpoint is not None and endpoint.host in deaf for endpoint in lost):
            backup = Backup()
        self.store.restore(backup)
        self.newest = Revision(self.store.backup().revision)
        self._expiries.clear()
        # A key with a time to live runs out a while after the restore too.
        leader = self.store.get(LEADER)
        if leader is not None:
            self.store.delete(LEADER)
        self.breaks += 1
        for key in {**keys, **self._keys()}:
            self.hear_key(key)
        for threads in self._waiting.values():
            for thread in threads:
                self._scheduler.wake(thread)

    def put(
        self, process: str, key: Key, value: str, expect: Revision | None, ttl: int | None
    ) -> Revision:
        """A write that arrives now."""
        before = self.store.get(key)
        lives = None if ttl is None else ttl + self._chance.choice(self._late_by)
        revision = self.store.put(key, value, expect=expect, ttl=lives)
        self._expiries.pop(key, None)
        if lives is not None:
            self._expiries[key] = self._scheduler.now() + lives
            self._plan()
        said = None if before is None else before.value
        self.hear_write(Write(process, key, value, expect is not None, said))
        return revision

    def delete(
        self, process: str, key: Key, expect: Revision | None, sent: float | None = None
    ) -> None:
        """A delete that arrives now, and was sent then."""
        before = self.store.get(key)
        self.store.delete(key, expect=expect)
        self._expiries.pop(key, None)
        said = None if before is None else before.value
        sent = self.now() if sent is None else sent
        self.hear_write(Write(process, key, None, expect is not None, said, sent))

    def wait(self, prefix: Key, seconds: float) -> None:
        """Sleep until something happens below a prefix."""
        thread = self._scheduler.current
        waiting = self._waiting.setdefault(prefix, {})
        waiting[thread] = None
        try:
            self._scheduler.sleep(seconds)
        finally:
            del waiting[thread]

    def _keys(self) -> dict[Key, None]:
        return {each.key: None for root in ROOTS for each in self.store.list(root).entries}

    def _hear(self, event: WatchEvent) -> None:
        if isinstance(event, Put):
            key, self.newest = event.stored.key, event.stored.revision
        else:
            key, self.newest = event.key, event.revision
        self.hear_key(key)
        there = f"{key}/"
        for prefix, threads in self._waiting.items():
            below = f"{prefix}/"
            if threads and (there.startswith(below) or below.startswith(there)):
                for thread in threads:
                    self._scheduler.wake(thread)


class EtcdClient:
    """A process' connection; implements `DirectoryStore`."""

    def __init__(self, etcd: EtcdTwin, door: Door, scheduler: Scheduler) -> None:
        self._etcd = etcd
        self._door = door
        self._scheduler = scheduler

    def get(self, key: Key) -> Stored | None:
        """See Datastore."""
        fault = self._ask()
        found = self._etcd.store.get(key)
        self._answer(fault)
        return found

    def list(self, prefix: Key) -> Listing:
        """See Datastore."""
        fault = self._ask()
        found = self._etcd.store.list(prefix)
        self._answer(fault)
        return found

    def put(
        self, key: Key, value: str, *, expect: Revision | None = None, ttl: int | None = None
    ) -> Revision:
        """See Datastore."""
        name = self._door.process.name
        fault = self._ask(lambda: self._etcd.put(name, key, value, expect, ttl))
        try:
            return self._etcd.put(name, key, value, expect, ttl)
        finally:
            # A refusal gets lost like any other answer.
            self._answer(fault)

    def delete(self, key: Key, *, expect: Revision | None = None) -> None:
        """See Datastore."""
        name, sent = self._door.process.name, self._scheduler.now()
        fault = self._ask(lambda: self._etcd.delete(name, key, expect, sent))
        try:
            self._etcd.delete(name, key, expect)
        finally:
            self._answer(fault)

    def make_directory(self, key: Key) -> None:
        """See DirectoryStore."""
        fault = self._ask(lambda: self._etcd.store.make_directory(key))
        self._etcd.store.make_directory(key)
        self._answer(fault)

    def watch(self, prefix: Key, after: Revision, timeout: float) -> Watch:
        """See Datastore."""
        end, breaks = self._scheduler.now() + timeout, self._etcd.breaks
        reached: Revision | None = None
        while True:
            fault = self._ask(news=True)
            if self._etcd.breaks != breaks:
                raise DatastoreUnavailable("connection broken")
            event, newest = self._etcd.store.first_after(prefix, after), self._etcd.newest
            if newest < after:
                raise DatastoreUnavailable("behind what was seen")
            self._answer(fault)
            if event is not None:
                after = event.stored.revision if isinstance(event, Put) else event.revision
                reached = None
                yield event
                continue
            # etcd tells its index as it begins to wait, and then nothing.
            reached = max(after, newest) if reached is None else reached
            after = max(after, newest)
            if self._etcd.newest > newest:
                # Something happened while the answer was under way.
                continue
            left = end - self._scheduler.now()
            if left <= 0:
                return reached
            self._etcd.wait(prefix, left)

    def _ask(self, late: Callable[[], object] | None = None, *, news: bool = False) -> Fault | None:
        """Go out by the door; tells what befalls the answer, raises if nothing arrives."""
        fault = self._door.step("" if late is None else WRITES)
        kind = None if fault is None else fault.kind
        door, now = self._door, self._scheduler.now()
        if now < door.cut_until:
            self._scheduler.sleep(min(TIMEOUT, door.cut_until - now))
            raise DatastoreUnavailable("cut off")
        if news and now < door.lag_until:
            self._scheduler.sleep(door.lag_until - now)
        if kind is FaultKind.STALE and fault is not None and news:
            self._scheduler.sleep(fault.seconds)
        elif kind in (FaultKind.UNSENT, FaultKind.STALE):
            raise DatastoreUnavailable("not sent")
        if kind is FaultKind.LATE and late is not None and fault is not None:
            self._etcd.write_late(fault.seconds, lambda: _quietly(late))
            self._scheduler.sleep(TIMEOUT)
            raise DatastoreUnavailable("no answer")
        return fault if kind in (FaultKind.LOST, FaultKind.END) else None

    def _answer(self, fault: Fault | None) -> None:
        if self._door.open:
            # Else nobody can tell: what follows begins with giving way.
            self._scheduler.give_way()
        if fault is None:
            return
        if fault.kind is FaultKind.END:
            self._door.end(fault)
        raise DatastoreUnavailable("answer lost")


def _quietly(write: Callable[[], object]) -> None:
    try:
        write()
    except CalicoError:
        # It is refused, and nobody hears of it.
        return
