"""What every dataplane does: one suite for the kernel and for its twin in memory."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pytest
from netaddr import EUI, IPAddress, IPNetwork

from calico.dataplane.api import Applied, Dataplane
from calico.dataplane.changes import (
    AddMarkRule,
    AddRoute,
    AttachTask,
    Change,
    CommitTable,
    NamespaceRef,
    RemoveLink,
    RemoveMarkRule,
    RemoveRoute,
    SetSysctl,
)
from calico.dataplane.kernel import KernelDataplane
from calico.dataplane.memory import MemoryDataplane
from calico.dataplane.namespaces import identify
from calico.dataplane.state import (
    MAIN_TABLE,
    BaseHook,
    Chain,
    Connection,
    HostFacts,
    HostState,
    Link,
    MarkRule,
    NftSet,
    Route,
    RouteKind,
    Wiring,
)
from calico.errors import DataplaneUnsupported
from calico.model import InterfaceName, TaskId
from reconciler.core.plan import plan_host
from tests.kernel.namespaces import Namespace, fresh_network

DEADLINE = 5.0


@dataclass(frozen=True)
class World:
    """One empty host, and how tasks begin and end on it."""

    dataplane: Dataplane
    start: Callable[[], NamespaceRef]
    end: Callable[[NamespaceRef], None]

    def until(self, holds: Callable[[HostState], bool]) -> HostState:
        """The first state that holds; a kernel takes namespaces down in its own time."""
        deadline = time.monotonic() + DEADLINE
        while not holds(state := self.dataplane.observe()):
            assert time.monotonic() < deadline, state
        return state


@pytest.fixture(params=["memory", "kernel"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with ExitStack() as stack:
        yield (_memory_world if request.param == "memory" else _kernel_world)(stack)


def _memory_world(stack: ExitStack) -> World:
    dataplane = MemoryDataplane(HostFacts("lo", IPAddress("127.0.0.1"), 65536))
    pids = iter(range(1000, 2000))

    def start() -> NamespaceRef:
        pid = next(pids)
        ref = NamespaceRef(pid, 7, 4026531840 + pid, cookie=pid)
        dataplane.start_namespace(ref)
        return ref

    return World(dataplane, start, dataplane.end_namespace)


def _kernel_world(stack: ExitStack) -> World:
    try:
        stack.enter_context(fresh_network())
    except PermissionError:
        pytest.skip("no right to make network namespaces")
    dataplane = KernelDataplane()
    stack.callback(dataplane.close)
    made: dict[NamespaceRef, Namespace] = {}

    def start() -> NamespaceRef:
        namespace = Namespace.start()
        stack.callback(namespace.end)
        ref = identify(namespace.ref.pid)
        made[ref] = namespace
        return ref

    return World(dataplane, start, lambda ref: made[ref].end())


def wired(number: int, *, mtu: int = 1500) -> Link:
    """The link of a task that is told apart by a number."""
    wiring = Wiring(
        TaskId(f"app.{number}"),
        EUI(0x020000000000 + number),
        (IPAddress(f"10.9.0.{number}"),),
        mtu,
    )
    return Link(InterfaceName(f"cali{number:011x}"), wiring.alias, wiring=wiring)


def route_to(link: Link) -> Route:
    """The host's route to a task."""
    assert link.wiring is not None
    return Route(IPNetwork(link.wiring.addresses[0]), RouteKind.TASK, interface=link.name)


def blackhole(network: str, table: int = 80) -> Route:
    return Route(IPNetwork(network), RouteKind.BLACKHOLE, table)


def done(dataplane: Dataplane, *changes: Change) -> None:
    """Apply, and again: applying twice is applying once."""
    assert dataplane.apply(changes) == Applied({})
    once = dataplane.observe()
    assert dataplane.apply(changes) == Applied({})
    assert dataplane.observe() == once


def refused(dataplane: Dataplane, *changes: Change) -> dict[Change, str]:
    """Apply; what failed."""
    return dict(dataplane.apply(changes).failures)


def test_a_fresh_host_holds_nothing_of_ours(world: World) -> None:
    assert world.dataplane.observe() == HostState()


def test_an_attached_task_has_a_named_link_that_is_up(world: World) -> None:
    link = wired(1)
    done(world.dataplane, AttachTask(link, world.start()))
    assert world.dataplane.observe().links == {link.name: link}


def test_a_link_wired_otherwise_is_replaced(world: World) -> None:
    before, after, namespace = wired(1, mtu=1500), wired(1, mtu=1400), world.start()
    done(world.dataplane, AttachTask(before, namespace), AddRoute(route_to(before)))
    done(world.dataplane, AttachTask(after, namespace))
    state = world.dataplane.observe()
    assert state.links == {after.name: after}
    assert state.routes == frozenset()


def test_a_task_that_began_anew_gets_its_link_in_the_new_namespace(world: World) -> None:
    link, first, second = wired(1), world.start(), world.start()
    done(world.dataplane, AttachTask(link, first))
    done(world.dataplane, AttachTask(link, second))
    world.end(first)
    assert world.dataplane.observe().links == {link.name: link}
    done(world.dataplane, AttachTask(wired(2), world.start()))


def test_the_link_and_route_of_a_killed_task_vanish(world: World) -> None:
    link, namespace = wired(1), world.start()
    done(world.dataplane, AttachTask(link, namespace), AddRoute(route_to(link)))
    world.end(namespace)
    assert world.until(lambda state: not state.links).routes == frozenset()


def test_a_task_that_ended_meanwhile_fails_alone(world: World) -> None:
    gone, alive = world.start(), world.start()
    world.end(gone)
    changes = (AttachTask(wired(1), gone), AttachTask(wired(2), alive))
    assert "ended" in refused(world.dataplane, *changes)[changes[0]]
    assert set(world.dataplane.observe().links) == {wired(2).name}


def test_another_namespace_of_the_same_number_is_not_the_one_that_ended(world: World) -> None:
    # given one that no process speaks for
    there = replace(world.start(), pid=0, start_time=0)
    ended = AttachTask(wired(1), replace(there, cookie=there.cookie + 1))
    assert "nowhere to be found" in refused(world.dataplane, ended)[ended]
    assert not world.dataplane.observe().links
    done(world.dataplane, AttachTask(wired(1), there))


def test_a_namespace_takes_only_one_link(world: World) -> None:
    namespace = world.start()
    first, second = AttachTask(wired(1), namespace), AttachTask(wired(2), namespace)
    done(world.dataplane, first)
    assert "already has an interface" in refused(world.dataplane, second)[second]
    apart = AttachTask(wired(3), namespace)
    assert set(refused(world.dataplane, second, apart)) == {second, apart}


def test_many_links_go_at_once(world: World) -> None:
    links = [wired(number) for number in range(1, 6)]
    done(world.dataplane, *(AttachTask(link, world.start()) for link in links))
    kept, *going = links
    done(world.dataplane, *(RemoveLink(link.name) for link in going))
    assert world.dataplane.observe().links == {kept.name: kept}


def test_a_route_is_added_replaced_and_removed(world: World) -> None:
    link = wired(1)
    closed = blackhole("10.9.0.1/32")
    done(world.dataplane, AttachTask(link, world.start()), AddRoute(closed))
    done(world.dataplane, AddRoute(route_to(link)))
    assert world.dataplane.observe().routes == {route_to(link)}
    done(world.dataplane, RemoveRoute(closed))
    assert world.dataplane.observe().routes == {route_to(link)}
    done(world.dataplane, RemoveRoute(route_to(link)))
    assert world.dataplane.observe().routes == frozenset()


@pytest.mark.parametrize("network", ["10.9.0.0/26", "fd00:9::/122"])
def test_the_same_destination_may_be_in_both_tables(world: World, network: str) -> None:
    ours, main = blackhole(network), blackhole(network, MAIN_TABLE)
    done(world.dataplane, AddRoute(ours), AddRoute(main))
    assert world.dataplane.observe().routes == {ours, main}
    done(world.dataplane, RemoveRoute(main))
    assert world.dataplane.observe().routes == {ours}


def test_a_route_to_a_task_without_a_link_fails_alone(world: World) -> None:
    missing, closed = AddRoute(route_to(wired(1))), AddRoute(blackhole("10.9.0.0/26"))
    assert "no interface" in refused(world.dataplane, missing, closed)[missing]
    assert world.dataplane.observe().routes == {closed.route}


@pytest.mark.parametrize("version", [4, 6])
def test_rules_of_both_forms_come_and_go(world: World, version: int) -> None:
    marked, own = MarkRule(version, 100, 0x10000), MarkRule(version, 101, None)
    done(world.dataplane, AddMarkRule(marked), AddMarkRule(own))
    assert world.dataplane.observe().mark_rules == {marked, own}
    done(world.dataplane, RemoveMarkRule(marked))
    assert world.dataplane.observe().mark_rules == {own}


def test_a_setting_that_was_made_is_seen(world: World) -> None:
    done(world.dataplane, SetSysctl("net/ipv4/ip_forward", "1"))
    assert world.dataplane.observe().sysctls == {"net/ipv4/ip_forward": "1"}


def test_a_table_gets_exactly_what_was_committed(world: World) -> None:
    base = Chain("forward", (), BaseHook("filter", "forward", 0, "drop"))
    members = NftSet("members", ("ipv4_addr",), frozenset({"10.9.0.1", "10.9.0.2"}))
    fewer = replace(members, elements=frozenset({"10.9.0.2"}))
    done(world.dataplane, CommitTable(chains=(base,), sets=(members,)))
    # The difference to `previous_sets` is what is sent, so this holds once only.
    assert world.dataplane.apply((CommitTable(sets=(fewer,), previous_sets=(members,)),)) == (
        Applied({})
    )
    state = world.dataplane.observe()
    assert (state.chains, state.sets) == ({"forward": base}, {"members": fewer})
    world.dataplane.apply((CommitTable(removed_sets=("members",)),))
    assert world.dataplane.observe().sets == {}


def test_what_is_not_ours_is_refused(world: World) -> None:
    stranger = replace(wired(1), name=InterfaceName("other0"))
    changes = (
        AttachTask(stranger, world.start()),
        AttachTask(replace(wired(1), wiring=None), world.start()),
        RemoveLink(InterfaceName("other0")),
        AddRoute(blackhole("10.9.0.0/26", table=7)),
        RemoveRoute(blackhole("10.9.0.0/26", table=7)),
        AddMarkRule(MarkRule(4, 32766, None)),
        RemoveMarkRule(MarkRule(4, 32766, None)),
        SetSysctl("kernel/hostname", "gone"),
        SetSysctl("net/../kernel/hostname", "gone"),
    )
    assert set(refused(world.dataplane, *changes)) == set(changes)
    assert world.dataplane.observe() == HostState()


def test_an_address_of_no_interface_is_no_address_of_the_host(world: World) -> None:
    with pytest.raises(DataplaneUnsupported, match="--address"):
        world.dataplane.facts(IPAddress("203.0.113.9"))


def test_forgetting_connections_that_nobody_has_is_no_error(world: World) -> None:
    ends = IPAddress("10.9.0.1"), IPAddress("10.9.0.2")
    ends6 = IPAddress("fd00:9::1"), IPAddress("fd00:9::2")
    world.dataplane.forget(
        [
            Connection(6, *ends, *reversed(ends), 40000, 80),
            Connection(1, *ends, *reversed(ends), icmp=(8, 0, 77)),
            Connection(17, *ends6, *reversed(ends6), 40000, 80),
            Connection(253, *ends, *reversed(ends)),
        ]
    )
    assert world.dataplane.connections([*ends, *ends6]) == ()


def test_a_plan_leads_from_any_of_these_states_to_the_desired_one(world: World) -> None:
    kept, moved, orphan = wired(1), wired(2, mtu=1400), wired(3)
    namespaces = {TaskId(f"app.{number}"): world.start() for number in (1, 2, 3)}
    done(
        world.dataplane,
        *(AttachTask(link, namespaces[link.wiring.task]) for link in (kept, orphan) if link.wiring),
        AttachTask(wired(2), namespaces[TaskId("app.2")]),
        *(AddRoute(route_to(link)) for link in (kept, moved, orphan)),
        AddRoute(blackhole("10.9.9.0/26")),
    )
    desired = HostState(
        links={link.name: link for link in (kept, moved)},
        routes=frozenset({route_to(kept), route_to(moved), blackhole("10.9.0.0/26")}),
        mark_rules=frozenset({MarkRule(4, 100, 0x10000)}),
        sysctls={"net/ipv4/ip_forward": "1"},
    )
    plan = plan_host(world.dataplane.observe(), desired, namespaces).plan
    assert world.dataplane.apply(plan) == Applied({})
    assert world.dataplane.observe() == desired
    assert plan_host(world.dataplane.observe(), desired, namespaces).plan == ()
