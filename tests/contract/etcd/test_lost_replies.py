"""A write that was done and not answered is found by reading, not done again."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from netaddr import IPAddress, IPNetwork

from calico import codec, keys
from calico.addressing.addresses import Addresses
from calico.addressing.audit import Miscounted, drifts
from calico.addressing.books import decode_books
from calico.datastore.api import Datastore, Key
from calico.datastore.etcd import EtcdDatastore
from calico.datastore.memory import MemoryDatastore
from calico.model import HandleId, HostName, Pool
from reconciler.controller.stored import StoredState
from reconciler.controller.writer import TaskWriter
from reconciler.core.desired import DesiredTask, desired_tasks
from reconciler.core.tasks.profiles import NetworkPolicy
from tests.contract.etcd.lossy import Fault, LossyStore
from tests.faults.proxy import proxied_server
from tests.unit.reconciler.apps import HOST, app, task

A = HostName("host-a")
ONE, TWO = HandleId("task.1"), HandleId("task.2")
POOL = Pool(IPNetwork("10.1.0.0/24"))
FIXED = IPAddress("10.1.0.77")


@dataclass(frozen=True)
class Lossy:
    """A store as its user sees it, the switch that loses replies, and the store behind."""

    datastore: Datastore
    fault: Fault
    behind: Datastore

    def lose(self, number: int) -> None:
        """Lose the reply of a write from here on, counted from 0."""
        self.fault.writes, self.fault.swallow = 0, number


@pytest.fixture(params=["memory", "etcd"])
def lossy(request: pytest.FixtureRequest) -> Iterator[Lossy]:
    """A store with one pool and nothing else of Calico's."""
    if request.param == "memory":
        store = MemoryDatastore()
        store.put(keys.pool_key(POOL), codec.encode_pool(POOL))
        wrapped = LossyStore(store)
        yield Lossy(wrapped, wrapped, store)
        return
    url = request.getfixturevalue("etcd_url")
    behind = EtcdDatastore([url])
    behind.put(keys.pool_key(POOL), codec.encode_pool(POOL))
    with proxied_server(url) as proxy:
        yield Lossy(EtcdDatastore([proxy.url]), proxy, behind)
    for root in ("/calico", "/marathon-calico"):
        for stored in behind.list(Key(root)).entries:
            behind.delete(stored.key)


def drift(lossy: Lossy) -> tuple[object, ...]:
    return drifts(decode_books(lossy.behind.list(keys.IPAM).entries))


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(0, id="the claim"),
        pytest.param(1, id="the new block"),
        pytest.param(2, id="the handle"),
        pytest.param(3, id="the block"),
    ],
)
@pytest.mark.parametrize("fixed", [False, True], ids=["any", "fixed"])
def test_an_address_is_given_once_although_a_reply_is_lost(
    lossy: Lossy, number: int, fixed: bool
) -> None:
    addresses = Addresses(lossy.datastore)
    lossy.lose(number)
    if fixed:
        addresses.assign_fixed(A, ONE, FIXED)
    else:
        addresses.assign(A, ONE)
    # The very writes that are made without a fault, and none twice.
    assert lossy.fault.writes == 4
    held = Addresses(lossy.behind).held_by(ONE)
    assert len(held) == 1
    assert held[0] == (FIXED if fixed else addresses.assign(A, ONE))
    assert drift(lossy) == ()


@pytest.mark.parametrize("number", [pytest.param(0, id="handle"), pytest.param(1, id="block")])
def test_the_next_address_of_a_host_survives_a_lost_reply_too(lossy: Lossy, number: int) -> None:
    addresses = Addresses(lossy.datastore)
    first = addresses.assign(A, ONE)
    lossy.lose(number)
    second = addresses.assign(A, TWO)
    assert lossy.fault.writes == 2
    assert first != second
    assert Addresses(lossy.behind).held_by(TWO) == (second,)
    assert drift(lossy) == ()


@pytest.mark.parametrize("number", [pytest.param(0, id="handle"), pytest.param(1, id="block")])
def test_a_second_address_of_one_handle_is_counted_once(lossy: Lossy, number: int) -> None:
    addresses = Addresses(lossy.datastore)
    addresses.assign_fixed(A, ONE, FIXED)
    lossy.lose(number)
    addresses.assign_fixed(A, ONE, FIXED + 1)
    assert Addresses(lossy.behind).held_by(ONE) == (FIXED, FIXED + 1)
    assert drift(lossy) == ()


def test_an_address_is_released_although_the_reply_is_lost(lossy: Lossy) -> None:
    addresses = Addresses(lossy.datastore)
    address = addresses.assign(A, ONE)
    lossy.lose(0)
    assert addresses.release(ONE, address)
    assert Addresses(lossy.behind).holder(address) is None
    # It may have been another who released it, and counted less: too many is harmless.
    (left,) = drift(lossy)
    assert isinstance(left, Miscounted)
    assert (left.counted, left.held, left.ours) == (1, 0, True)


def test_a_released_address_is_counted_less_once(lossy: Lossy) -> None:
    addresses = Addresses(lossy.datastore)
    address = addresses.assign(A, ONE)
    lossy.lose(1)
    assert addresses.release(ONE, address)
    assert drift(lossy) == ()
    assert lossy.behind.get(keys.handle_key(ONE)) is None


def desired() -> DesiredTask:
    """One task of one app on the one host."""
    definition = app(task("t", host=HOST.name))
    (found,) = desired_tasks(
        definition, {definition.version: definition}, {}, {HOST.name: HOST}, NetworkPolicy()
    )
    return found


def writes_of_a_task() -> int:
    """How many writes bring one task, without a fault."""
    store = MemoryDatastore()
    store.put(keys.pool_key(POOL), codec.encode_pool(POOL))
    wrapped = LossyStore(store)
    writer(wrapped).bring(desired())
    return wrapped.writes


def writer(datastore: Datastore) -> TaskWriter:
    stored = StoredState()
    stored.load(datastore)
    return TaskWriter(datastore, stored, lambda: "2016-05-01T10:00:00Z", lambda: 0.0)


@pytest.mark.parametrize("number", range(writes_of_a_task()))
def test_a_task_is_brought_by_the_same_writes_although_a_reply_is_lost(
    lossy: Lossy, number: int
) -> None:
    bringing = writer(lossy.datastore)
    lossy.lose(number)
    bringing.bring(desired())
    assert lossy.fault.writes == writes_of_a_task()
    assert drift(lossy) == ()
    # What it remembers is what is there: it has nothing to write, and may withdraw.
    bringing.bring(desired())
    assert lossy.fault.writes == writes_of_a_task()
    bringing.withdraw(desired().record.task, HOST.name)
    assert lossy.behind.list(keys.TASKS).entries == ()


@pytest.mark.parametrize("number", range(6))
def test_a_task_is_withdrawn_although_a_reply_is_lost(lossy: Lossy, number: int) -> None:
    bringing = writer(lossy.datastore)
    bringing.bring(desired())
    lossy.lose(number)
    bringing.withdraw(desired().record.task, HOST.name)
    assert lossy.behind.list(keys.TASKS).entries == ()
    assert lossy.behind.list(keys.ENDPOINTS).entries == ()
