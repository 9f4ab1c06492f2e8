"""The twins do what the real ones do, and what goes wrong with them goes wrong."""

import random
from collections.abc import Callable

import pytest

from calico.dataplane.changes import SetSysctl
from calico.datastore.api import ABSENT, Key, Put, Revision, Stored, WatchEvent, WatchEvents
from calico.errors import DatastoreUnavailable, HistoryLost
from calico.keys import endpoint_key
from calico.model import HostName, TaskId
from calico.names import endpoint_of_task
from reconciler.runtime.clock import ManualClock
from tests.simulation.doors import Door
from tests.simulation.faults import ChosenFaults, Fault, FaultKind, Place
from tests.simulation.scheduler import Scheduler
from tests.simulation.twins.etcd import WINDOW, EtcdClient, EtcdTwin
from tests.simulation.twins.host import HostTwin

A, B = Key("/a/one"), Key("/a/two")
ROOT = Key("/a")


class Store:
    """One process with one connection, and its faults."""

    def __init__(self, *faults: tuple[Place, Fault]) -> None:
        self.scheduler = Scheduler(ManualClock(), random.Random(1))
        self.etcd = EtcdTwin(self.scheduler, random.Random(1))
        self.process = self.scheduler.process("p")
        door = Door(self.process, self.scheduler, ChosenFaults(faults).at, lambda *_: None)
        door.open = True
        self.client = EtcdClient(self.etcd, door, self.scheduler)

    def run(self, main: Callable[[], None], seconds: float = 60.0) -> None:
        """Have the process do it."""
        self.process.main = lambda _: main()
        self.process.start()
        self.scheduler.run(seconds, lambda _: self.etcd.settle(), lambda: self.etcd.soonest)
        assert self.scheduler.defects == []


def test_a_write_whose_answer_is_lost_is_done() -> None:
    store = Store((Place("p!", 1), Fault(FaultKind.LOST)))

    def write() -> None:
        with pytest.raises(DatastoreUnavailable):
            store.client.put(A, "1")
        assert store.client.get(A) == Stored(A, "1", Revision(1))

    store.run(write)


def test_a_late_write_arrives_after_its_writer_ended() -> None:
    store = Store(
        (Place("p!", 1), Fault(FaultKind.LATE, 20.0)), (Place("p", 1), Fault(FaultKind.KILL))
    )

    def write() -> None:
        with pytest.raises(DatastoreUnavailable):
            store.client.put(A, "1", expect=ABSENT)
        assert store.client.get(A) is None

    store.run(write)
    assert not store.process.alive
    assert store.etcd.store.get(A) == Stored(A, "1", Revision(1))


def test_a_watch_tells_of_every_write() -> None:
    store = Store()
    seen: list[WatchEvent] = []

    def watch() -> None:
        seen.extend(store.client.watch(ROOT, Revision(0), 10.0))

    def write() -> None:
        for number in range(2 * WINDOW):
            store.client.put(A if number % 2 else B, str(number))

    store.process.spawn(watch)
    store.run(write)
    assert [each.stored.value for each in seen if isinstance(each, Put)] == [
        str(number) for number in range(2 * WINDOW)
    ]


def test_a_watch_from_long_ago_is_refused() -> None:
    store = Store()

    def watch() -> None:
        for number in range(2 * WINDOW):
            store.client.put(A, str(number))
        with pytest.raises(HistoryLost):
            list(store.client.watch(ROOT, Revision(1), 1.0))

    store.run(watch)


def test_a_quiet_watch_tells_the_index_at_which_it_began() -> None:
    store = Store()
    reached: list[Revision] = []

    def watch() -> None:
        quiet = WatchEvents(store.client.watch(ROOT, Revision(1), 10.0))
        assert list(quiet) == []
        reached.append(quiet.reached)

    store.etcd.store.put(A, "1")
    store.etcd.store.put(Key("/elsewhere"), "2")
    store.run(watch, 5.0)
    store.etcd.store.put(Key("/elsewhere"), "3")
    store.scheduler.run(20.0, lambda _: store.etcd.settle(), lambda: store.etcd.soonest)
    assert reached == [2]


def test_a_restored_store_holds_what_it_held() -> None:
    store = Store()
    broken: list[str] = []

    def watch() -> None:
        with pytest.raises(DatastoreUnavailable):
            list(store.client.watch(ROOT, Revision(1), 1000.0))
        broken.append("yes")

    store.etcd.store.put(A, "1")
    store.etcd.back_up()
    store.etcd.store.put(A, "2")
    store.run(watch, 5.0)
    store.etcd.restore(0.0)
    store.scheduler.run(6.0, lambda _: store.etcd.settle(), lambda: store.etcd.soonest)
    assert store.etcd.store.get(A) == Stored(A, "1", Revision(1))
    assert broken


@pytest.mark.parametrize(
    ("deaf", "kept"),
    [
        pytest.param("h0", False, id="its own agent hears nothing"),
        pytest.param("h1", True, id="another one does"),
    ],
)
def test_no_older_self_is_restored_that_an_agent_could_take_for_the_true_one(
    deaf: str, kept: bool
) -> None:
    store = Store().etcd
    store.store.put(A, "1")
    store.back_up()
    store.store.put(endpoint_key(endpoint_of_task(HostName("h0"), TaskId("x.1"))), "{}")

    store.restore(0.0, [HostName(deaf)])

    assert (store.store.get(A) is not None) == kept


def test_who_looks_before_a_kernel_changes_looks_again_after_it() -> None:
    told: list[str] = []
    host = HostTwin(0, lambda: told.append("others go first"), lambda: told.append("changed"))
    host.dataplane.apply((SetSysctl("net.ipv4.ip_forward", "1"),))
    assert told == ["others go first", "changed"]
