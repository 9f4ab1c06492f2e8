"""A write that may not be sent any more is not sent, whatever has delayed it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from calico.datastore.api import Fence, Key, Revision, unfenced
from calico.datastore.etcd import EtcdDatastore
from calico.datastore.memory import MemoryDatastore
from calico.keys import CLUSTER
from reconciler.controller.main import Controller
from reconciler.controller.settings import ControllerSettings
from reconciler.runtime.clock import ManualClock, SystemClock
from reconciler.runtime.lease import DEAD_AFTER, RENEW_EVERY, WRITE_WINDOW, Lease, LeaseLost
from reconciler.runtime.listener import ListenAddress
from tests.contract.real_etcd import free_port

KEY = Key("/test/fence/a")
LEADER = Key("/test/fence/leader")
TIMEOUT = 0.2


@contextmanager
def swallowing() -> Iterator[str]:
    """A member that lets nobody connect: its queue is full and nobody takes from it."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


class Gate:
    """Lets so many questions pass, and then none."""

    def __init__(self, passes: int) -> None:
        self.asked = 0
        self._passes = passes

    def __call__(self) -> None:
        self.asked += 1
        if self.asked > self._passes:
            raise LeaseLost("too late")


@pytest.fixture(autouse=True)
def swept(etcd_url: str) -> Iterator[None]:
    yield
    store = EtcdDatastore([etcd_url])
    for each in (KEY, LEADER):
        store.delete(each)


def written(etcd_url: str) -> bool:
    return EtcdDatastore([etcd_url]).get(KEY) is not None


@pytest.mark.parametrize(
    "passes",
    [
        pytest.param(0, id="before the first member"),
        pytest.param(1, id="before the second"),
        pytest.param(2, id="before the third"),
        pytest.param(3, id="when the connection to the third stands"),
    ],
)
def test_a_write_is_not_sent_once_it_may_not_be(etcd_url: str, passes: int) -> None:
    gate = Gate(passes)
    with swallowing() as one, swallowing() as other:
        store = EtcdDatastore([one, other, etcd_url], timeout=TIMEOUT, fence=gate)

        with pytest.raises(LeaseLost):
            store.put(KEY, "late")

    assert gate.asked == passes + 1
    assert not written(etcd_url)


@pytest.mark.parametrize("passes", [0, 1], ids=["at once", "when the connection stands"])
def test_a_removal_is_not_sent_once_it_may_not_be(etcd_url: str, passes: int) -> None:
    EtcdDatastore([etcd_url]).put(KEY, "stays")

    with pytest.raises(LeaseLost):
        EtcdDatastore([etcd_url], fence=Gate(passes)).delete(KEY)

    assert written(etcd_url)


def test_a_read_is_never_fenced(etcd_url: str) -> None:
    gate = Gate(0)
    store = EtcdDatastore([etcd_url], fence=gate)

    assert store.get(KEY) is None
    assert store.list(KEY).entries == ()
    assert list(store.watch(KEY, store.list(KEY).revision, 0.0)) == []
    assert gate.asked == 0


def test_a_writer_goes_on_where_it_was_refused_once_it_may_again(etcd_url: str) -> None:
    clock = ManualClock()
    lease = Lease(EtcdDatastore([etcd_url]), LEADER, "one", clock)
    store = EtcdDatastore([etcd_url], fence=lease.insist)
    assert lease.keep()
    store.put(KEY, "early")

    clock.advance(WRITE_WINDOW + RENEW_EVERY)
    with pytest.raises(LeaseLost):
        store.put(KEY, "late")

    assert lease.keep()
    store.put(KEY, "renewed")
    stored = store.get(KEY)
    assert stored is not None
    assert stored.value == "renewed"


def test_a_lease_that_was_restored_without_its_time_to_live_is_taken_over(etcd_url: str) -> None:
    # given the key of a controller that is no more, as a dump of etcd brings it back
    store, clock = EtcdDatastore([etcd_url]), ManualClock()
    former = Lease(store, LEADER, "former", clock)
    assert former.keep()
    dumped = store.get(LEADER)
    assert dumped is not None
    store.put(LEADER, dumped.value)

    # when another stands by for longer than any holder is silent
    lease = Lease(store, LEADER, "one", clock)
    assert not lease.keep()
    clock.advance(DEAD_AFTER)
    assert not lease.keep()

    assert lease.keep()
    stored = store.get(LEADER)
    assert stored is not None
    assert stored.expires


def test_a_controller_writes_only_behind_its_lease() -> None:
    # given a controller that has won its lease, and done its first writes
    store, stop, fences = MemoryDatastore(), threading.Event(), list[Fence]()

    def open_store(fence: Fence = unfenced) -> MemoryDatastore:
        fences.append(fence)
        return store

    settings = ControllerSettings(
        open_store, (f"http://127.0.0.1:{free_port()}",), listen=ListenAddress("127.0.0.1", 0)
    )
    controller = threading.Thread(target=Controller(settings, SystemClock(), stop).run)
    controller.start()
    try:
        assert next(store.watch(CLUSTER, Revision(0), 30.0), None) is not None
        (fence,) = (each for each in fences if each is not unfenced)
        fence()
    finally:
        stop.set()
        controller.join(30.0)

    # then what it writes by is shut as soon as it gave its lease back
    with pytest.raises(LeaseLost):
        fence()
