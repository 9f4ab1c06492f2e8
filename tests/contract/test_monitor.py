"""What every monitor notices: one suite for the kernel's and its twin in memory."""

import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from netaddr import IPAddress

from calico.dataplane.api import Applied, Dataplane, Monitor, Noticed
from calico.dataplane.changes import (
    AddMarkRule,
    AddRoute,
    AttachTask,
    CommitTable,
    MendLink,
    NamespaceRef,
    Plan,
    RemoveLink,
    RemoveMarkRule,
    RemoveRoute,
    SetSysctl,
)
from calico.dataplane.kernel import KernelDataplane
from calico.dataplane.memory import MemoryDataplane, MemoryMonitor
from calico.dataplane.monitor import KernelMonitor
from calico.dataplane.state import (
    MAIN_TABLE,
    BaseHook,
    Chain,
    HostFacts,
    Link,
    MarkRule,
    NftSet,
)
from calico.errors import DataplaneError
from calico.model import InterfaceName
from tests.contract.test_dataplane import blackhole, route_to, wired
from tests.kernel.namespaces import Namespace, fresh_network

#: Long enough for a glance at links that no event asked for.
QUIET = 1.0
LINK = wired(1)
BASE = Chain("input", (), BaseHook("filter", "input", 0, "accept"))
MEMBERS = NftSet("members", ("ipv4_addr",), frozenset({"10.9.0.1"}))
RULE = MarkRule(4, 100, 0x10000)


@dataclass(frozen=True)
class World:
    """A host with one task, its monitor, and another program on it."""

    dataplane: Dataplane
    monitor: Monitor
    meddle: Callable[[Plan], object]
    start: Callable[[], NamespaceRef]
    end: Callable[[NamespaceRef], None]
    quiet: float

    def noticed(self) -> Noticed:
        """All that is noticed until it is quiet, as one notice."""
        foreign, links = False, dict[InterfaceName, Link | None]()
        while (noticed := self.monitor.wait(self.quiet)) is not None:
            foreign = foreign or noticed.foreign
            links |= noticed.links
        return Noticed(foreign, links)


@pytest.fixture(params=["memory", "kernel"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with ExitStack() as stack:
        made = (_memory_world if request.param == "memory" else _kernel_world)(stack)
        changes: Plan = (
            CommitTable(chains=(BASE,), sets=(MEMBERS,)),
            SetSysctl("net/ipv4/ip_forward", "1"),
            AddMarkRule(RULE),
            AddRoute(blackhole("10.9.0.0/16", MAIN_TABLE)),
            AttachTask(LINK, made.start()),
            AddRoute(route_to(LINK)),
        )
        assert made.dataplane.apply(changes) == Applied({})
        made.monitor.open()
        stack.callback(made.monitor.close)
        yield made


def _memory_world(stack: ExitStack) -> World:
    dataplane = MemoryDataplane(HostFacts("lo", IPAddress("127.0.0.1"), 65536))
    pids = iter(range(1000, 2000))

    def start() -> NamespaceRef:
        pid = next(pids)
        dataplane.start_namespace(NamespaceRef(pid, 7, 4026531840 + pid))
        return NamespaceRef(pid, 7, 4026531840 + pid)

    monitor = MemoryMonitor(dataplane)
    return World(dataplane, monitor, dataplane.meddle, start, dataplane.end_namespace, 0.001)


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
        made[namespace.ref] = namespace
        return next(reversed(made))

    meddler = stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-m", "tests.contract.meddler"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
    )
    assert meddler.stdin is not None
    assert meddler.stdout is not None
    orders, answers = meddler.stdin, meddler.stdout

    def meddle(plan: Plan) -> None:
        orders.write(pickle.dumps(plan))
        orders.flush()
        assert answers.readline() == b"{}\n"

    return World(dataplane, KernelMonitor(), meddle, start, lambda ref: made[ref].end(), QUIET)


CHANGES = {
    "a set goes": CommitTable(removed_sets=("members",)),
    "a set comes": CommitTable(sets=(MEMBERS,)),
    "an element goes": CommitTable(
        sets=(NftSet("members", ("ipv4_addr",), frozenset()),), previous_sets=(MEMBERS,)
    ),
    "a chain comes": CommitTable(chains=(Chain("stray", ()),)),
    "a route is replaced": AddRoute(blackhole("10.9.0.1/32")),
    "a route goes": RemoveRoute(blackhole("10.9.0.1/32")),
    "a route in the main table goes": RemoveRoute(blackhole("10.9.0.0/16", MAIN_TABLE)),
    "a rule goes": RemoveMarkRule(RULE),
    "a rule comes": AddMarkRule(MarkRule(4, 101, None)),
}


def test_each_change_of_another_program_is_noticed(world: World) -> None:
    unnoticed = []
    for what, change in CHANGES.items():
        world.meddle((change,))
        if world.monitor.wait(world.quiet) != Noticed(foreign=True):
            unnoticed.append(what)
    assert unnoticed == []


def test_no_change_of_our_own_is_noticed(world: World) -> None:
    for change in CHANGES.values():
        assert world.dataplane.apply((change,)) == Applied({})
    assert world.noticed() == Noticed()


def test_a_setting_that_is_changed_is_noticed_whoever_did_it(world: World) -> None:
    world.meddle((SetSysctl("net/ipv4/ip_forward", "0"),))
    assert world.noticed().foreign
    world.dataplane.apply((SetSysctl("net/ipv4/ip_forward", "1"),))
    assert world.noticed().foreign


def test_a_link_that_comes_or_goes_is_told_as_it_is_in_the_end(world: World) -> None:
    second = wired(2)
    world.dataplane.apply((AttachTask(second, world.start()),))
    assert world.noticed() == Noticed(links={second.name: second})
    world.meddle((RemoveLink(second.name),))
    assert world.noticed().links == {second.name: None}


def test_the_link_of_an_ended_task_is_told(world: World) -> None:
    second, namespace = wired(2), world.start()
    world.dataplane.apply((AttachTask(second, namespace),))
    world.noticed()
    world.end(namespace)
    deadline = time.monotonic() + 10
    while (noticed := world.noticed()) == Noticed():
        assert time.monotonic() < deadline
    assert noticed.links == {second.name: None}


def test_mending_what_is_whole_is_no_news(world: World) -> None:
    assert world.dataplane.apply((MendLink(LINK),)) == Applied({})
    assert world.noticed() == Noticed()


def test_a_monitor_notices_only_while_it_is_open(world: World) -> None:
    world.monitor.close()
    with pytest.raises(DataplaneError):
        world.monitor.wait(0.01)
    world.meddle((RemoveMarkRule(RULE),))
    world.monitor.open()
    assert world.noticed() == Noticed()
    world.meddle((RemoveRoute(route_to(LINK)),))
    assert world.noticed().foreign
