"""What whoever asks for a container's network may rely on, on each implementation."""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from netaddr import IPAddress, IPNetwork

from calico.keys import IPAM, READY
from calico.model import ContainerId
from calico.names import interface_of_container, mac_of_container
from reconciler.attach.api import (
    Attacher,
    AttachError,
    AttachRefused,
    AttachUnavailable,
    Place,
    UnknownContainer,
    Wish,
)
from reconciler.attach.memory import MemoryAttacher
from tests.contract.attach.agent_rig import Rig
from tests.kernel.namespaces import Namespace, fresh_network

ONE, OTHER = ContainerId("one"), ContainerId("0c5c.other-2_")
POOLS = (IPNetwork("192.168.0.0/24"), IPNetwork("fd80::/64"))
FIXED = IPAddress("192.168.0.77")
REMEDY = "no right to make network namespaces: run inside unshare --user --map-root-user --net"


@dataclass
class World:
    """An Attacher, and what a test may do around it."""

    attacher: Attacher
    silence_datastore: Callable[[], None]
    begin: Callable[[Namespace], None]


def _memory() -> World:
    host = os.stat("/proc/thread-self/ns/net").st_ino
    attacher = MemoryAttacher(POOLS, host=[host])

    def silence() -> None:
        attacher.unavailable = "the datastore does not answer"

    return World(attacher, silence, lambda _: None)


@pytest.fixture(params=["memory", "agent"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """The same promises on both."""
    with ExitStack() as stack:
        try:
            stack.enter_context(fresh_network())
        except PermissionError:
            pytest.skip(REMEDY)
        if request.param == "memory":
            yield _memory()
            return
        rig = Rig(tmp_path, POOLS)
        agent = stack.enter_context(rig.running())

        def silence() -> None:
            agent.store.silent = True

        yield World(agent.attacher, silence, rig.begin)


@pytest.fixture
def attacher(world: World) -> Attacher:
    return world.attacher


@pytest.fixture
def make(world: World) -> Iterator[Callable[[], int]]:
    """Makes network namespaces; a descriptor of each."""
    with ExitStack() as stack:

        def made() -> int:
            namespace = Namespace.start()
            stack.callback(namespace.end)
            world.begin(namespace)
            descriptor = os.open(f"/proc/{namespace.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, descriptor)
            return descriptor

        yield made


def test_a_container_gets_one_address_of_each_family_that_has_a_pool(attacher: Attacher) -> None:
    given = attacher.allocate(ONE, Wish())

    assert [address.version for address in given.addresses] == [4, 6]
    assert all(any(address in pool for pool in POOLS) for address in given.addresses)
    assert (given.container, given.device, given.mtu) == (ONE, "", 1500)
    assert given.interface == interface_of_container(ONE)
    assert given.mac == mac_of_container(ONE)


def test_asked_again_it_has_the_same_addresses(attacher: Attacher) -> None:
    assert attacher.allocate(ONE, Wish()) == attacher.allocate(ONE, Wish())


def test_two_containers_have_nothing_in_common(attacher: Attacher) -> None:
    one, other = attacher.allocate(ONE, Wish()), attacher.allocate(OTHER, Wish())

    assert not set(one.addresses) & set(other.addresses)
    assert one.interface != other.interface
    assert one.mac != other.mac


@pytest.mark.parametrize(
    ("wish", "versions"),
    [
        pytest.param(Wish(count4=1, count6=0), [4], id="no IPv6"),
        pytest.param(Wish(count4=0, count6=1), [6], id="no IPv4"),
        pytest.param(Wish(fixed=(FIXED,)), [4], id="exactly a fixed one"),
        pytest.param(Wish(fixed=(FIXED,), count6=1), [4, 6], id="a fixed one and one beside"),
        pytest.param(Wish(fixed=(FIXED,), count4=1), [4, 4], id="a fixed one and another"),
    ],
)
def test_a_container_gets_what_it_wishes_for(
    attacher: Attacher, wish: Wish, versions: list[int]
) -> None:
    given = attacher.allocate(ONE, wish)

    assert [address.version for address in given.addresses] == versions
    assert set(wish.fixed) <= set(given.addresses)


@pytest.mark.parametrize(
    "wish",
    [
        pytest.param(Wish(fixed=(IPAddress("10.1.2.3"),)), id="outside the pools"),
        pytest.param(Wish(fixed=(FIXED, FIXED)), id="twice the same"),
        pytest.param(Wish(count4=2), id="more than one beside"),
        pytest.param(Wish(count4=-1), id="less than none"),
        pytest.param(Wish(count4=0, count6=0), id="none at all"),
    ],
)
def test_what_cannot_be_had_is_refused_and_nothing_is_kept(attacher: Attacher, wish: Wish) -> None:
    with pytest.raises(AttachRefused):
        attacher.allocate(ONE, wish)

    with pytest.raises(UnknownContainer):
        attacher.check(ONE)
    assert attacher.detach(ONE) is False


def test_a_fixed_address_that_is_taken_is_refused_until_it_is_free(attacher: Attacher) -> None:
    attacher.allocate(ONE, Wish(fixed=(FIXED,)))

    with pytest.raises(AttachRefused, match=str(FIXED)):
        attacher.allocate(OTHER, Wish(fixed=(FIXED,)))
    attacher.detach(ONE)

    assert attacher.allocate(OTHER, Wish(fixed=(FIXED,))).addresses == (FIXED,)


def test_a_container_is_not_given_other_addresses_than_it_has(attacher: Attacher) -> None:
    attacher.allocate(ONE, Wish())

    with pytest.raises(AttachRefused, match="already"):
        attacher.allocate(ONE, Wish(fixed=(FIXED,)))


def test_a_container_is_attached_and_again_without_a_difference(
    attacher: Attacher, make: Callable[[], int]
) -> None:
    given, place = attacher.allocate(ONE, Wish()), Place(make(), device="net0")

    attached = attacher.attach(ONE, place)

    assert attached == replace(given, device="net0")
    assert attacher.attach(ONE, place) == attached
    assert attacher.allocate(ONE, Wish()) == attached
    assert attacher.check(ONE) == attached


def test_a_process_stands_for_its_namespace(attacher: Attacher, world: World) -> None:
    namespace = Namespace.start()
    try:
        world.begin(namespace)
        attacher.allocate(ONE, Wish())
        assert attacher.attach(ONE, Place(pid=namespace.pid)).device == "eth0"
        assert attacher.attach(ONE, Place(pid=namespace.pid)).device == "eth0"
    finally:
        namespace.end()


def test_the_descriptor_stays_the_askers(attacher: Attacher, make: Callable[[], int]) -> None:
    descriptor = make()
    attacher.allocate(ONE, Wish())
    before = len(os.listdir("/proc/self/fd"))

    attacher.attach(ONE, Place(descriptor))

    assert os.fstat(descriptor)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_second_interface_or_plugin_is_refused(
    attacher: Attacher, make: Callable[[], int]
) -> None:
    descriptor = make()
    attacher.allocate(ONE, Wish())
    attached = attacher.attach(ONE, Place(descriptor))

    for place in (Place(descriptor, device="eth1"), Place(make())):
        with pytest.raises(AttachRefused, match="second interface"):
            attacher.attach(ONE, place)
    assert attacher.check(ONE) == attached


def test_a_namespace_is_one_containers(attacher: Attacher, make: Callable[[], int]) -> None:
    descriptor = make()
    for container in (ONE, OTHER):
        attacher.allocate(container, Wish())
    attacher.attach(ONE, Place(descriptor))

    with pytest.raises(AttachRefused, match="container one"):
        attacher.attach(OTHER, Place(descriptor))
    attacher.detach(ONE)


def test_the_hosts_namespace_is_nobodys(attacher: Attacher) -> None:
    attacher.allocate(ONE, Wish())
    descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        with pytest.raises(AttachRefused, match="host"):
            attacher.attach(ONE, Place(descriptor))
    finally:
        os.close(descriptor)
    assert attacher.check(ONE).device == ""


@pytest.mark.parametrize(
    "device", ["", "lo", "all", "../x", "a b", "sixteen-letters.", "-x", "x/y", "default"]
)
def test_a_device_has_a_proper_name(
    attacher: Attacher, make: Callable[[], int], device: str
) -> None:
    attacher.allocate(ONE, Wish())

    with pytest.raises(AttachRefused):
        attacher.attach(ONE, Place(make(), device=device))


@pytest.mark.parametrize("container", ["", "../x", "a/b", "_x", "x" * 129, "a b", "ü"])
def test_a_container_has_a_proper_id(attacher: Attacher, container: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: attacher.allocate(ContainerId(container), Wish()),
        lambda: attacher.attach(ContainerId(container), Place(pid=1)),
        lambda: attacher.detach(ContainerId(container)),
        lambda: attacher.check(ContainerId(container)),
    ]
    for call in calls:
        with pytest.raises(AttachRefused):
            call()


def test_nothing_is_attached_without_addresses(attacher: Attacher, make: Callable[[], int]) -> None:
    with pytest.raises(UnknownContainer):
        attacher.attach(ONE, Place(make()))


def test_a_detached_container_is_unknown_and_its_addresses_are_free(
    attacher: Attacher, make: Callable[[], int]
) -> None:
    given = attacher.allocate(ONE, Wish(fixed=(FIXED,)))
    attacher.attach(ONE, Place(make(), known_as="two"))

    assert attacher.detach(ONE) is True
    assert attacher.detach(ONE) is False

    with pytest.raises(UnknownContainer):
        attacher.check(ONE)
    assert [attacher.find(sign) for sign in ("two", FIXED)] == [None, None]
    assert attacher.allocate(OTHER, Wish(fixed=(FIXED,))).addresses == given.addresses


def test_a_container_is_found_by_its_address_and_its_second_id(
    attacher: Attacher, make: Callable[[], int]
) -> None:
    one, other = attacher.allocate(ONE, Wish()), attacher.allocate(OTHER, Wish())
    attacher.attach(ONE, Place(make(), known_as="two"))

    assert [attacher.find(address) for address in one.addresses] == [ONE, ONE]
    assert [attacher.find(address) for address in other.addresses] == [OTHER, OTHER]
    assert attacher.find("two") == ONE
    assert [attacher.find(sign) for sign in ("", "one", IPAddress("10.0.0.1"))] == [None] * 3


def test_without_a_datastore_what_is_known_goes_on_and_nothing_new_is_given(
    world: World, make: Callable[[], int]
) -> None:
    attacher, place = world.attacher, Place(make())
    attacher.allocate(ONE, Wish())
    attached = attacher.attach(ONE, place)

    world.silence_datastore()

    with pytest.raises(AttachUnavailable, match="does not answer"):
        attacher.allocate(OTHER, Wish())
    assert attacher.allocate(ONE, Wish()) == attached
    assert attacher.attach(ONE, place) == attached
    assert attacher.check(ONE) == attached
    assert attacher.detach(ONE) is True


def test_many_at_once_get_on_with_each_other(attacher: Attacher, make: Callable[[], int]) -> None:
    containers = [ContainerId(f"c{number}") for number in range(8)]
    places = {container: Place(make()) for container in containers}
    start = threading.Barrier(16)

    def ask(container: ContainerId) -> object:
        start.wait()
        try:
            attacher.allocate(container, Wish())
            return attacher.attach(container, places[container])
        except AttachError as error:
            return error

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(ask, containers * 2))

    assert outcomes[:8] == outcomes[8:], "asked twice, the answer is one"
    assert outcomes[:8] == [attacher.check(container) for container in containers]
    given = [address for each in containers for address in attacher.check(each).addresses]
    assert len(set(given)) == 16


def test_an_agent_gives_nothing_of_a_datastore_that_it_doubts(tmp_path: Path) -> None:
    rig = Rig(tmp_path, POOLS)
    rig.store.delete(READY)

    with rig.running() as agent, pytest.raises(AttachUnavailable, match=str(READY)):
        agent.attacher.allocate(ONE, Wish())

    assert rig.store.list(IPAM).entries == ()
