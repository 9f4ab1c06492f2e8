"""Hypothesis strategies for what a host holds and should hold."""

from dataclasses import replace

from hypothesis import strategies as st
from netaddr import EUI, IPAddress, IPNetwork

from calico.dataplane.changes import NamespaceRef
from calico.dataplane.state import (
    MAIN_TABLE,
    BaseHook,
    Chain,
    HostState,
    Link,
    MarkRule,
    NftRule,
    NftSet,
    Route,
    RouteKind,
    Wiring,
)
from calico.model import InterfaceName, TaskId

TASKS = tuple(TaskId(f"task.{number}") for number in range(5))
NAMESPACES = {task: NamespaceRef(100 + n, 5000 + n, 4026532000 + n) for n, task in enumerate(TASKS)}
BASE_CHAINS = tuple(
    Chain(hook, (NftRule(f"base-{hook}", "[]"),), BaseHook("filter", hook, 0, "drop"))
    for hook in ("forward", "input")
)


def interface(task: TaskId) -> InterfaceName:
    """Five tasks, five interfaces."""
    return InterfaceName(f"cali0000000000{task[-1]}")


def address(task: TaskId) -> IPAddress:
    """Five tasks, five addresses."""
    return IPAddress(f"192.168.0.{task[-1]}")


def link(task: TaskId, mtu: int) -> Link:
    """The link that a task should have, at one MTU."""
    wiring = Wiring(task, EUI("02:00:00:00:00:01"), (address(task),), mtu)
    return Link(interface(task), wiring.alias, True, wiring)


def policy(task: TaskId, version: int) -> tuple[Chain, NftSet]:
    """A task's chain, and its set of peers, in one of a few versions."""
    chain = Chain(f"chain-{task}", (NftRule(f"{task}-{version}", "[]"),))
    peers = NftSet(f"set-{task}", ("ipv4_addr",), frozenset({"10.0.0.1", version}))
    return chain, peers


def blackhole(block: IPNetwork, table: int) -> Route:
    """A closing route."""
    return Route(block, RouteKind.BLACKHOLE, table)


BLOCKS = (IPNetwork("192.168.0.0/26"), IPNetwork("192.168.0.64/26"), IPNetwork("192.168.0.128/26"))


@st.composite
def desired_states(draw: st.DrawFn) -> HostState:
    """What render may ask for: whole tasks, each with link, route, chain and set."""
    tasks = draw(st.sets(st.sampled_from(TASKS)))
    source = draw(st.sampled_from([IPAddress("10.1.0.1"), IPAddress("10.1.0.2")]))
    links: dict[InterfaceName, Link] = {}
    chains = {chain.name: chain for chain in BASE_CHAINS}
    sets: dict[str, NftSet] = {}
    routes: set[Route] = set()
    for task in sorted(tasks):
        wired = link(task, draw(st.sampled_from([1400, 1500])))
        links[wired.name] = wired
        chain, peers = policy(task, draw(st.integers(0, 1)))
        chains[chain.name] = chain
        sets[peers.name] = peers
        routes.add(
            Route(
                IPNetwork(f"{address(task)}/32"),
                RouteKind.TASK,
                interface=wired.name,
                source=source,
            )
        )
    for block in BLOCKS:
        kind = draw(st.sampled_from([None, RouteKind.BLACKHOLE, RouteKind.HOST]))
        if kind is RouteKind.HOST:
            gateway = draw(st.sampled_from([IPAddress("10.0.0.2"), IPAddress("10.0.0.3")]))
            routes.add(Route(block, kind, gateway=gateway))
        elif kind is RouteKind.BLACKHOLE:
            routes |= {blackhole(block, MAIN_TABLE), blackhole(block, 80)}
    return HostState(
        links=links,
        routes=frozenset(routes),
        mark_rules=frozenset(
            draw(st.sets(st.builds(MarkRule, st.sampled_from([4, 6]), st.just(100), st.just(1))))
        ),
        chains=chains,
        sets=sets,
        sysctls={"net/ipv4/ip_forward": "1"},
    )


@st.composite
def observed_states(draw: st.DrawFn) -> HostState:
    """What a kernel may hold: a desired state of earlier, torn in any way."""
    state = draw(desired_states())
    links = {
        name: draw(
            st.sampled_from(
                [
                    each,
                    replace(each, alias=""),
                    replace(each, up=False),
                    replace(each, sound=False),
                ]
            )
        )
        for name, each in state.links.items()
        if draw(st.booleans())
    }
    table_is_there = draw(st.booleans())
    return HostState(
        links=links,
        routes=frozenset(
            route
            for route in sorted(state.routes, key=str)
            if (route.interface is None or route.interface in links) and draw(st.booleans())
        ),
        mark_rules=state.mark_rules,
        chains=state.chains if table_is_there else {},
        sets=state.sets if table_is_there else {},
        sysctls=draw(st.sampled_from([{}, {"net/ipv4/ip_forward": "0"}, dict(state.sysctls)])),
    )
