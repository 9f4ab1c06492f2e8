"""Each promise can be seen to be broken: a violation is planted, and found."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from calico.addressing.addresses import Addresses
from calico.codec import encode_status
from calico.dataplane.changes import AddRoute, RemoveLink
from calico.dataplane.state import Route, RouteKind
from calico.datastore.api import Key
from calico.keys import ENDPOINTS, TASKS, endpoint_key, objection_key, status_key
from calico.model import (
    ContainerId,
    EndpointId,
    EndpointState,
    EndpointStatus,
    HandleId,
    InterfaceName,
    TaskId,
)
from calico.names import endpoint_of_task
from tests.simulation.invariants import Violation
from tests.simulation.schedule import Schedule
from tests.simulation.twins.host import HostTwin
from tests.simulation.world import Metrics, World

METRICS = Metrics()


@pytest.fixture
def world() -> Iterator[World]:
    # Nothing goes wrong in it but what is planted.
    schedule = Schedule(seed=1, actions=(), ends=0.0, faults=(), chances=False)
    made = World(schedule, METRICS)
    made.begin()
    yield made
    made.scheduler.end()


def first(world: World, number: int = 0) -> tuple[HostTwin, TaskId]:
    """A host and a task on it."""
    host = world.hosts[number]
    return host, min(host.namespaces)


def endpoint_of(host: HostTwin, task: TaskId) -> EndpointId:
    return endpoint_of_task(host.name, task)


def key_of(host: HostTwin, task: TaskId) -> Key:
    return endpoint_key(endpoint_of(host, task))


def route_of(host: HostTwin, task: TaskId) -> Route:
    addresses = {who: address for address, (who, _) in host.routed().items()}
    return next(
        each
        for each in host.dataplane.observe().routes
        if each.kind is RouteKind.TASK and each.destination.ip == addresses[task]
    )


def link_of(host: HostTwin, task: TaskId) -> InterfaceName:
    return next(name for who, name in host.routed().values() if who == task)


def two_endpoints_with_one_address(world: World) -> None:
    host, task = first(world)
    stored = world.etcd.store.get(key_of(host, task))
    assert stored is not None
    world.etcd.store.put(key_of(host, TaskId("x.99")), stored.value)


def one_address_routed_twice(world: World) -> None:
    host, task = first(world)
    other, another = first(world, 1)
    stolen = replace(route_of(host, task), interface=link_of(other, another))
    other.dataplane.meddle((AddRoute(stolen),))
    world.invariants.touch(other)


def tasks_of_other_groups_reach_each_other(world: World) -> None:
    host, task = first(world)
    world.marathon.groups[task] = frozenset({"elsewhere"})
    world.invariants.touch(host)


def a_connection_is_inherited(world: World) -> None:
    host, task = first(world)
    heir, address = TaskId("x.99"), route_of(host, task).destination.ip
    books = Addresses(world.etcd.store)
    books.release(HandleId(task), address)
    books.assign_fixed(host.name, HandleId(heir), address)
    host.namespaces[heir] = host.namespaces.pop(task)
    world.marathon.groups[heir] = world.marathon.groups[task]
    world.invariants.touch(host)


def a_controller_writes_without_a_condition(world: World) -> None:
    stored = world.etcd.store.list(TASKS).entries[0]
    world.etcd.put("c0", stored.key, "{}", None, None)


def a_live_task_loses_its_endpoint(world: World) -> None:
    world.etcd.store.delete(key_of(*first(world)))


def a_live_address_is_given_back(world: World) -> None:
    _, task = first(world)
    books = Addresses(world.etcd.store)
    books.release(HandleId(task), route_of(*first(world)).destination.ip)


def an_address_is_given_again_at_once(world: World) -> None:
    host, task = first(world)
    address = route_of(host, task).destination.ip
    world.etcd.store.delete(key_of(host, task))
    world.marathon.end(frozenset[str]((task,)))
    host.end_task(task)
    world.invariants.touch(host)
    books = Addresses(world.etcd.store)
    books.release(HandleId(task), address)
    books.assign_fixed(host.name, HandleId("x.99"), address)


def an_address_of_another_orchestrator_is_freed(world: World) -> None:
    books = Addresses(world.etcd.store)
    handle = HandleId("foreign.h0")
    block = next(each for each, _ in books.blocks() if each.affinity == "h0")
    ordinal = next(n for n, each in enumerate(block.allocations) if each and each.handle == handle)
    books.release(handle, block.cidr[ordinal])


def a_task_is_cut_off_after_a_restore(world: World) -> None:
    world.invariants.expect_restore()
    host, task = first(world)
    host.dataplane.meddle((RemoveLink(link_of(host, task)),))
    world.invariants.touch(host)


def a_task_whose_groups_marathon_dropped_has_a_network(world: World) -> None:
    world.marathon.groupless.add("x.99")
    two_endpoints_with_one_address(world)


@pytest.mark.parametrize(
    ("plant", "promise"),
    [
        pytest.param(two_endpoints_with_one_address, "P1 10.", id="P1, endpoints"),
        pytest.param(one_address_routed_twice, "P1 10.", id="P1, kernels"),
        pytest.param(tasks_of_other_groups_reach_each_other, "P2 h", id="P2, new connections"),
        pytest.param(a_connection_is_inherited, "P2 h0 lets", id="P2, old connections"),
        pytest.param(a_controller_writes_without_a_condition, "P3 c0", id="P3"),
        pytest.param(a_live_task_loses_its_endpoint, "P4 ", id="P4"),
        pytest.param(a_live_address_is_given_back, "P5 10.", id="P5, given back too soon"),
        pytest.param(an_address_is_given_again_at_once, "P5 10.", id="P5, given again too soon"),
        pytest.param(an_address_of_another_orchestrator_is_freed, "P5 10.", id="P5, not ours"),
        pytest.param(a_task_is_cut_off_after_a_restore, "P7 ", id="P7"),
        pytest.param(a_task_whose_groups_marathon_dropped_has_a_network, "F30 x", id="F30"),
    ],
)
def test_a_planted_violation_is_found(
    world: World, plant: Callable[[World], None], promise: str
) -> None:
    world.invariants.check()
    plant(world)
    with pytest.raises(Violation, match=f"^{promise}"):
        world.invariants.check()


def test_what_an_agents_file_lacks_when_it_begins_is_not_asked_of_it(world: World) -> None:
    world.hosts[0].disk = b""
    world.invariants.begin_agent(world.hosts[0])
    a_task_is_cut_off_after_a_restore(world)
    world.invariants.check()


def test_what_an_agents_file_holds_is_asked_of_it(world: World) -> None:
    world.invariants.begin_agent(world.hosts[0])
    a_task_is_cut_off_after_a_restore(world)
    with pytest.raises(Violation, match=r"^P7 "):
        world.invariants.check()


def is_given_up_and_found_again(world: World) -> None:
    """Marathon gives a task up and finds it again: what it had is rightly taken away."""
    _, task = first(world)
    world.marathon.give_up(frozenset[str]((task,)))
    a_live_task_loses_its_endpoint(world)
    world.invariants.check()
    world.marathon.find_again(frozenset[str]((task,)))
    world.invariants.find_again(frozenset((task,)))


def test_what_was_rightly_taken_from_a_task_is_not_asked_for_after_a_restore(
    world: World,
) -> None:
    is_given_up_and_found_again(world)
    a_task_is_cut_off_after_a_restore(world)
    world.invariants.check()


def test_what_its_agent_had_up_since_is_asked_for_after_a_restore(world: World) -> None:
    is_given_up_and_found_again(world)
    status = encode_status(EndpointStatus(EndpointState.UP, 1))
    world.etcd.put("a0", status_key(endpoint_of(*first(world))), status, None, None)
    a_task_is_cut_off_after_a_restore(world)
    with pytest.raises(Violation, match=r"^P7 "):
        world.invariants.check()


def test_a_cluster_at_rest_is_settled_and_quiet(world: World) -> None:
    assert world.invariants.unsettled() == ""
    world.rest()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        pytest.param(
            lambda world: world.hosts[0].start_task(TaskId("x.99")),
            "are not the tasks",
            id="a task without an endpoint",
        ),
        pytest.param(
            lambda world: world.hosts[0].dataplane.meddle(
                (RemoveLink(link_of(*first(world))),),
            ),
            "h0 routes",
            id="a task without a link",
        ),
        pytest.param(
            lambda world: Addresses(world.etcd.store).assign(world.hosts[0].name, HandleId("x.99")),
            "addresses are held by",
            id="an address that nobody uses",
        ),
        pytest.param(
            lambda world: world.etcd.store.put(
                Key("/calico/ipam/v2/handle/x.99"), '{"block": {"10.9.0.0/26": 1}, "id": "x.99"}'
            ),
            "the books do not agree",
            id="books that do not agree",
        ),
        pytest.param(
            lambda world: world.marathon.groups.update({first(world)[1]: frozenset({"k"})}),
            "is in ['g'], not ['k']",
            id="a task in other groups",
        ),
        pytest.param(
            lambda world: world.etcd.store.delete(status_key(endpoint_of(*first(world)))),
            "is not told to be up",
            id="a task that nobody calls up",
        ),
        pytest.param(
            lambda world: world.etcd.store.put(objection_key(world.hosts[0].name), "{}"),
            "h0 does not follow",
            id="a host that objects",
        ),
        pytest.param(
            lambda world: world.hosts[0].files.update({ContainerId("box"): b""}),
            "h0 keeps ['box']",
            id="a container that is gone",
        ),
    ],
)
def test_what_is_not_as_it_should_be_is_told(
    world: World, spoil: Callable[[World], object], told: str
) -> None:
    spoil(world)
    assert told in world.invariants.unsettled()


def test_who_writes_without_end_is_noticed(world: World) -> None:
    writer = world.scheduler.process("writer")

    def write() -> None:
        for number in range(100):
            world.etcd.put("writer", Key(f"{ENDPOINTS}/nobody"), str(number), None, None)
            world.scheduler.sleep(10.0)

    writer.main = lambda _: write()
    writer.start()
    with pytest.raises(Violation, match=r"^P13 "):
        world.rest()
