"""Single rules of plan_host, each in the smallest case that shows it."""

from dataclasses import replace

import pytest
from netaddr import EUI, IPAddress, IPNetwork

from calico.dataplane.changes import (
    AddRoute,
    AttachTask,
    Change,
    CommitTable,
    MendLink,
    RemoveLink,
    RemoveRoute,
    SetSysctl,
)
from calico.dataplane.render.host import render_host
from calico.dataplane.state import Chain, HostState, Link, NftRule, NftSet, Route, RouteKind
from calico.model import EndpointId, EndpointSpec, InterfaceName, ProfileId
from reconciler.core.plan import only_mending, plan_host
from tests.convergence.host_states import BASE_CHAINS, NAMESPACES, TASKS, interface, link
from tests.dataplane_worlds import CONFIG, HERE, group, snapshot

TASK = TASKS[0]
LINK = link(TASK, 1500)
ROUTE = Route(IPNetwork("192.168.0.0/32"), RouteKind.TASK, interface=LINK.name)
WIRED = HostState(links={LINK.name: LINK}, routes=frozenset({ROUTE}))


def test_a_host_as_it_should_be_needs_nothing() -> None:
    assert plan_host(WIRED, WIRED, {}).plan == ()


def test_a_new_task_is_attached_and_then_routed() -> None:
    planned = plan_host(HostState(), WIRED, NAMESPACES)

    assert planned.plan == (AttachTask(LINK, NAMESPACES[TASK]), AddRoute(ROUTE))


def test_a_task_without_a_known_namespace_waits_and_gets_no_route() -> None:
    planned = plan_host(HostState(), WIRED, {})

    assert planned.plan == ()
    assert planned.waiting == (TASK,)


def test_a_half_built_link_is_replaced_once_its_namespace_is_known() -> None:
    torn = replace(WIRED, links={LINK.name: replace(LINK, alias="")})

    assert plan_host(torn, WIRED, {}).plan == ()
    assert plan_host(torn, WIRED, NAMESPACES).plan == (
        RemoveRoute(ROUTE),
        RemoveLink(LINK.name),
        AttachTask(LINK, NAMESPACES[TASK]),
        AddRoute(ROUTE),
    )


@pytest.mark.parametrize(
    "touched",
    [
        pytest.param(replace(LINK, up=False), id="down"),
        pytest.param(replace(LINK, sound=False), id="set otherwise"),
    ],
)
def test_a_finished_link_that_was_touched_is_mended_where_it_is(touched: Link) -> None:
    observed = HostState(links={LINK.name: touched})

    planned = plan_host(observed, WIRED, {})

    assert planned.plan == (MendLink(LINK), AddRoute(ROUTE))
    assert planned.waiting == ()
    assert only_mending(planned.plan, observed) == planned.plan


def test_a_link_that_is_not_ours_is_left_alone() -> None:
    foreign = Link(InterfaceName("veth0"), "")

    assert plan_host(HostState(links={foreign.name: foreign}), HostState(), {}).plan == ()


def test_a_changed_gateway_replaces_the_route_without_a_gap() -> None:
    block = IPNetwork("192.168.1.0/26")
    before = Route(block, RouteKind.HOST, gateway=IPAddress("10.0.0.2"))
    desired = Route(block, RouteKind.HOST, gateway=IPAddress("10.0.0.3"))

    planned = plan_host(
        HostState(routes=frozenset({before})), HostState(routes=frozenset({desired})), {}
    )

    assert planned.plan == (AddRoute(desired),)


def test_what_led_to_another_host_goes_after_what_leads_there_now() -> None:
    block = IPNetwork("192.168.1.0/26")
    wide = Route(block, RouteKind.HOST, gateway=IPAddress("10.0.0.2"))
    narrow = replace(wide, destination=IPNetwork("192.168.1.7/32"))
    own = Route(block, RouteKind.BLACKHOLE)

    def between(before: Route, desired: set[Route]) -> tuple[Change, ...]:
        states = (HostState(routes=frozenset(each)) for each in ({before}, desired))
        return plan_host(*states, {}).plan

    assert between(wide, {narrow}) == (AddRoute(narrow), RemoveRoute(wide))
    assert between(narrow, {wide}) == (AddRoute(wide), RemoveRoute(narrow))
    assert between(wide, {own, narrow}) == (AddRoute(narrow), AddRoute(own))


def test_an_address_that_moves_to_another_task_is_unrouted_first() -> None:
    other = link(TASKS[1], 1500)
    moved = Route(ROUTE.destination, RouteKind.TASK, interface=other.name)
    desired = HostState(links={other.name: other}, routes=frozenset({moved}))

    assert plan_host(WIRED, desired, NAMESPACES).plan == (
        RemoveRoute(ROUTE),
        RemoveLink(interface(TASK)),
        AttachTask(other, NAMESPACES[TASKS[1]]),
        AddRoute(moved),
    )


def test_the_table_changes_in_one_transaction_before_anything_else() -> None:
    gone, kept = Chain("gone", ()), Chain("kept", (NftRule("1", "[]"),))
    peers = NftSet("peers", ("ipv4_addr",), frozenset({"10.0.0.1"}))
    grown = replace(peers, elements=frozenset({"10.0.0.1", "10.0.0.2"}))
    observed = HostState(
        chains={each.name: each for each in (*BASE_CHAINS, gone, kept)},
        sets={"peers": peers, "old": NftSet("old", ("ipv4_addr",), frozenset())},
    )
    desired = HostState(
        chains={"kept": kept, "new": Chain("new", ())},
        sets={"peers": grown},
        sysctls={"net/ipv4/ip_forward": "1"},
    )

    assert plan_host(observed, desired, {}).plan == (
        CommitTable(
            chains=(Chain("new", ()),),
            sets=(grown,),
            previous_sets=(peers,),
            removed_chains=("gone",),
            removed_sets=("old",),
        ),
        SetSysctl("net/ipv4/ip_forward", "1"),
    )


def test_the_interface_of_another_plugin_s_endpoint_is_left_as_it_is() -> None:
    theirs = EndpointSpec(
        EndpointId(HERE, "mesos", "ba11f1de-fc4d", "d79123c4784511e5bd1a080027f532f6"),
        InterfaceName("calid79123c4784"),
        EUI("d6:43:59:f7:93:d3"),
        (IPAddress("10.9.0.1"),),
        (ProfileId("red"),),
    )
    desired = render_host(snapshot([theirs], [group("red")]), CONFIG).state
    made = Link(theirs.interface, "", up=True)
    observed = replace(desired, links={made.name: made}, routes=frozenset())
    plan = plan_host(observed, desired, {}).plan
    assert not any(isinstance(each, AttachTask | MendLink | RemoveLink) for each in plan)
    assert not any(isinstance(each, AddRoute) and each.route.interface for each in plan)
