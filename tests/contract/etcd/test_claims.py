"""A task takes its container's addresses over, in memory and on a real etcd."""

import threading
from collections.abc import Iterator

import pytest
from netaddr import IPAddress, IPNetwork

from calico import codec, keys
from calico.addressing import ipam
from calico.addressing.addresses import Addresses
from calico.addressing.audit import Miscounted, drifts
from calico.addressing.blocks import CONTAINER, ON_HOST, OWNER, Allocation
from calico.addressing.books import decode_books
from calico.addressing.claims import Claim, Claims, Found
from calico.datastore.api import Datastore, Key
from calico.datastore.etcd import EtcdDatastore
from calico.datastore.memory import MemoryDatastore
from calico.errors import Conflict, DatastoreUnavailable
from calico.model import ContainerId, HandleId, HostName, Pool
from calico.names import handle_of_container
from tests.contract.conftest import Store
from tests.contract.etcd.lossy import Fault, LossyStore
from tests.faults.proxy import proxied_server

HOST, ELSEWHERE = HostName("host-a"), HostName("host-b")
BOX, TASK, OTHER = ContainerId("box-1"), HandleId("web.1"), HandleId("web.2")
GIVEN = ((CONTAINER, BOX), (ON_HOST, HOST), OWNER)
POOLS = (Pool(IPNetwork("10.1.0.0/25")), Pool(IPNetwork("fd80:24e2:f998:72d6::/64")))
CLAIM = Claim(BOX, HOST, TASK)


def put_pools(datastore: Datastore) -> None:
    for pool in POOLS:
        datastore.put(keys.pool_key(pool), codec.encode_pool(pool))


@pytest.fixture
def datastore(store: Store) -> Iterator[Datastore]:
    """A store with a pool of each family and nothing else of Calico's."""
    put_pools(store.datastore)
    yield store.datastore
    store.remove_tree(Key("/calico"))


def attach(datastore: Datastore, container: ContainerId = BOX) -> tuple[IPAddress, IPAddress]:
    """What an agent does before a container starts: one address of each family."""
    secondary = (OWNER, (CONTAINER, container), (ON_HOST, HOST))
    addresses = Addresses(datastore)
    four, six = (
        addresses.assign(HOST, handle_of_container(container), version=version, secondary=secondary)
        for version in (4, 6)
    )
    return four, six


def held(datastore: Datastore, address: IPAddress) -> Allocation | None:
    stored = datastore.get(keys.block_key(ipam.block_of(address)))
    assert stored is not None
    return ipam.allocation_of(codec.decode_block(ipam.block_of(address), stored.value), address)


def drift(datastore: Datastore) -> tuple[object, ...]:
    return drifts(decode_books(datastore.list(keys.IPAM).entries))


def values(datastore: Datastore) -> dict[Key, str]:
    return {each.key: each.value for each in datastore.list(keys.IPAM).entries}


def settle(claims: Claims) -> None:
    while claims.settle_one():
        pass


def test_a_claim_takes_all_addresses_of_the_container(datastore: Datastore) -> None:
    given, claims = attach(datastore), Claims(datastore)
    assert claims.claim(CLAIM) == given
    for address in given:
        assert held(datastore, address) == Allocation(TASK, GIVEN)
    assert not claims.settle_one()
    assert Addresses(datastore).held_by(TASK) == given
    assert datastore.get(keys.handle_key(handle_of_container(BOX))) is None
    assert drift(datastore) == ()


def test_claiming_again_tells_the_same_and_changes_nothing(datastore: Datastore) -> None:
    given, claims = attach(datastore), Claims(datastore)
    claims.claim(CLAIM)
    settle(claims)
    before = values(datastore)
    assert claims.claim(CLAIM) == Claims(datastore).claim(CLAIM) == given
    assert not claims.settle_one()
    assert values(datastore) == before


def test_a_release_that_is_still_on_its_way_takes_nothing_that_is_claimed_again(
    datastore: Datastore,
) -> None:
    given = attach(datastore)
    Claims(datastore).claim(CLAIM)
    late = [datastore.get(keys.block_key(ipam.block_of(each))) for each in given]

    assert Claims(datastore).claim(CLAIM) == given

    for stored in late:
        assert stored is not None
        with pytest.raises(Conflict):
            datastore.put(stored.key, stored.value, expect=stored.revision)


def test_what_an_app_asked_for_by_name_is_marked(datastore: Datastore) -> None:
    four, six = attach(datastore)
    mark = ("fixed-for", "/web")
    Claims(datastore).claim(Claim(BOX, HOST, TASK, {four: (mark,)}))
    assert held(datastore, four) == Allocation(TASK, tuple(sorted((*GIVEN, mark))))
    assert held(datastore, six) == Allocation(TASK, GIVEN)


@pytest.mark.parametrize(
    "claim",
    [
        pytest.param(Claim(BOX, ELSEWHERE, TASK), id="given by another host"),
        pytest.param(Claim(ContainerId("box-2"), HOST, TASK), id="another container"),
    ],
)
def test_what_is_not_the_container_s_of_that_host_stays(datastore: Datastore, claim: Claim) -> None:
    given = attach(datastore)
    assert Claims(datastore).claim(claim) == ()
    for address in given:
        assert held(datastore, address) == Allocation(handle_of_container(BOX), GIVEN)
    assert drift(datastore) == ()


def test_who_is_second_gets_nothing(datastore: Datastore) -> None:
    given = attach(datastore)
    assert Claims(datastore).claim(CLAIM) == given
    assert Claims(datastore).claim(Claim(BOX, HOST, OTHER)) == ()
    assert Addresses(datastore).held_by(OTHER) == ()


def test_the_agent_no_longer_releases_what_a_task_claimed(datastore: Datastore) -> None:
    four, _ = attach(datastore)
    Claims(datastore).claim(CLAIM)
    assert not Addresses(datastore).release(handle_of_container(BOX), four)
    assert Addresses(datastore).holder(four) == TASK


def test_what_the_agent_released_before_is_not_claimed(datastore: Datastore) -> None:
    four, six = attach(datastore)
    assert Addresses(datastore).release(handle_of_container(BOX), four)
    claims = Claims(datastore)
    assert claims.claim(CLAIM) == (six,)
    settle(claims)
    assert drift(datastore) == ()


def test_a_stale_block_costs_a_lost_swap_and_no_more(datastore: Datastore) -> None:
    given = attach(datastore)
    stale = as_read(datastore, given[0])
    # Another container of the host comes between.
    attach(datastore, ContainerId("box-2"))
    claims = Claims(datastore)
    assert claims.claim(CLAIM, stale) == given
    settle(claims)
    assert drift(datastore) == ()


def as_read(datastore: Datastore, address: IPAddress) -> dict[IPNetwork, Found]:
    """The block of an address as it is now."""
    cidr = ipam.block_of(address)
    stored = datastore.get(keys.block_key(cidr))
    assert stored is not None
    return {cidr: (codec.decode_block(cidr, stored.value), stored.revision)}


def test_what_was_released_after_the_block_was_read_is_counted_less(datastore: Datastore) -> None:
    four, six = attach(datastore)
    addresses = Addresses(datastore)
    addresses.assign_fixed(HOST, handle_of_container(BOX), four + 1, secondary=GIVEN)
    stale = as_read(datastore, four)
    addresses.release(handle_of_container(BOX), four)
    claims = Claims(datastore)
    assert claims.claim(CLAIM, stale) == (four + 1, six)
    settle(claims)
    assert drift(datastore) == ()


def test_what_was_given_after_the_block_was_read_is_counted_too(datastore: Datastore) -> None:
    four, six = attach(datastore)
    stale = as_read(datastore, four)
    Addresses(datastore).assign_fixed(HOST, handle_of_container(BOX), four + 1, secondary=GIVEN)
    claims = Claims(datastore)
    assert claims.claim(CLAIM, stale) == (four, four + 1, six)
    settle(claims)
    assert drift(datastore) == ()


def test_a_task_that_holds_something_already_is_counted_for_both(datastore: Datastore) -> None:
    own = Addresses(datastore).assign(HOST, TASK, secondary=(OWNER,))
    given, claims = attach(datastore), Claims(datastore)
    assert claims.claim(CLAIM) == given
    settle(claims)
    assert set(Addresses(datastore).held_by(TASK)) == {own, *given}
    assert drift(datastore) == ()


def test_claim_and_release_at_once_leave_each_address_with_one_of_them(
    datastore: Datastore,
) -> None:
    for number in range(5):
        box, task = ContainerId(f"race-{number}"), HandleId(f"race.{number}")
        given = attach(datastore, box)
        found: list[IPAddress] = []
        released: list[IPAddress] = []

        def claim(box: ContainerId = box, task: HandleId = task) -> None:
            found.extend(Claims(datastore).claim(Claim(box, HOST, task)))  # noqa: B023 - joined below

        def release(box: ContainerId = box, given: tuple[IPAddress, ...] = given) -> None:
            mine = Addresses(datastore)
            released.extend(  # noqa: B023 - joined below
                each for each in given if mine.release(handle_of_container(box), each)
            )

        threads = [threading.Thread(target=each) for each in (claim, release)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted((*found, *released)) == list(given)
        assert Addresses(datastore).held_by(task) == tuple(found)


def test_an_attempt_that_ended_before_any_write_is_taken_up(datastore: Datastore) -> None:
    given = attach(datastore)
    for writes in range(10):
        claims = Claims(Mortal(datastore, writes))
        try:
            claims.claim(CLAIM)
            settle(claims)
        except DatastoreUnavailable:
            for address in given:
                allocation = held(datastore, address)
                assert allocation is not None
                counts = codec.decode_handle(
                    allocation.handle or HandleId(""),
                    value_of(datastore, keys.handle_key(allocation.handle or HandleId(""))),
                )
                assert counts[ipam.block_of(address)] >= 1
            continue
        break
    assert writes >= 3
    assert Addresses(datastore).held_by(TASK) == given
    # Too high a count is what the controller mends.
    assert all(isinstance(each, Miscounted) and each.ours for each in drift(datastore))


def value_of(datastore: Datastore, key: Key) -> str:
    stored = datastore.get(key)
    assert stored is not None, key
    return stored.value


class Mortal:
    """A store that answers no write from number `last` on, and does none of them."""

    def __init__(self, store: Datastore, last: int) -> None:
        self._store = store
        self._left = last

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def put(self, key: Key, value: str, **how: int) -> object:
        self._count()
        return self._store.put(key, value, **how)

    def delete(self, key: Key, **how: int) -> object:
        self._count()
        return self._store.delete(key, **how)  # type: ignore[arg-type,func-returns-value]

    def _count(self) -> None:
        if not self._left:
            raise DatastoreUnavailable("it ended")
        self._left -= 1


@pytest.fixture(params=["memory", "etcd"])
def lossy(request: pytest.FixtureRequest) -> Iterator[tuple[Datastore, Fault, Datastore]]:
    """A store as its user sees it, the switch that loses replies, and the store behind."""
    if request.param == "memory":
        store = MemoryDatastore()
        put_pools(store)
        wrapped = LossyStore(store)
        yield wrapped, wrapped, store
        return
    url = request.getfixturevalue("etcd_url")
    behind = EtcdDatastore([url])
    put_pools(behind)
    with proxied_server(url) as proxy:
        yield EtcdDatastore([proxy.url]), proxy, behind
    for stored in behind.list(Key("/calico")).entries:
        behind.delete(stored.key)


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(0, id="the task's handle"),
        pytest.param(1, id="the block of IPv4"),
        pytest.param(2, id="the block of IPv6"),
        pytest.param(3, id="the container's handle"),
    ],
)
def test_a_claim_whose_reply_is_lost_is_found_by_reading(
    lossy: tuple[Datastore, Fault, Datastore], number: int
) -> None:
    datastore, fault, behind = lossy
    given = attach(behind)
    fault.writes, fault.swallow = 0, number
    claims = Claims(datastore)
    assert claims.claim(CLAIM) == given
    settle(claims)
    # The very writes that are made without a fault, and none twice.
    assert fault.writes == 4
    assert Addresses(behind).held_by(TASK) == given
    assert all(isinstance(each, Miscounted) and each.ours for each in drift(behind))
    if number in (0, 3):
        assert drift(behind) == ()
