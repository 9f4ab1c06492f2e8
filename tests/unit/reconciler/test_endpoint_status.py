"""What an agent says of an endpoint."""

from dataclasses import replace

import pytest
from netaddr import IPAddress, IPNetwork

from calico.dataplane.changes import AddRoute, Change, RemoveLink, SetSysctl
from calico.dataplane.state import Route, RouteKind
from calico.model import (
    EndpointSpec,
    EndpointState,
    EndpointStatus,
    HostName,
    InterfaceName,
    Snapshot,
    TaskId,
)
from calico.names import endpoint_of_task, interface_of
from reconciler.core.endpoint_status import (
    SWITCHED_OFF,
    Reached,
    endpoint_statuses,
    failures_by_interface,
    failures_of_host,
)

HERE = HostName("here")
WEB = TaskId("web.1")
ADDRESSES = (IPAddress("192.168.0.1"),)
ID = endpoint_of_task(HERE, WEB)
SPEC = EndpointSpec(ID, interface_of(ID), None, ADDRESSES)


def snapshot(spec: EndpointSpec) -> Snapshot:
    return Snapshot(specs={spec.id: spec}, spec_revisions={spec.id: 7})


@pytest.mark.parametrize(
    ("reached", "status"),
    [
        pytest.param(
            Reached(complete=frozenset({SPEC.interface})),
            EndpointStatus(EndpointState.UP, 7, ADDRESSES),
            id="its link is complete",
        ),
        pytest.param(
            Reached(waiting={WEB: ""}),
            EndpointStatus(EndpointState.DOWN, 7, ADDRESSES, "waiting for network namespace"),
            id="it was not found",
        ),
        pytest.param(
            Reached(waiting={WEB: "Mesos agent at U does not answer"}),
            EndpointStatus(
                EndpointState.DOWN,
                7,
                ADDRESSES,
                "waiting for network namespace: Mesos agent at U does not answer",
            ),
            id="nobody could look",
        ),
        pytest.param(
            Reached(waiting={WEB: ""}, failed={SPEC.interface: "process 5 ended"}),
            EndpointStatus(EndpointState.ERROR, 7, ADDRESSES, "process 5 ended"),
            id="attaching it failed",
        ),
        pytest.param(
            Reached(complete=frozenset({SPEC.interface}), failed={SPEC.interface: "no route"}),
            EndpointStatus(EndpointState.ERROR, 7, ADDRESSES, "no route"),
            id="its route failed",
        ),
        pytest.param(
            Reached(complete=frozenset({SPEC.interface}), switched_off=frozenset({SPEC.interface})),
            EndpointStatus(EndpointState.DOWN, 7, ADDRESSES, SWITCHED_OFF),
            id="it switched its own side off",
        ),
        pytest.param(
            Reached(waiting={WEB: ""}, gone=frozenset({WEB})),
            EndpointStatus(EndpointState.DOWN, 7, ADDRESSES, "its network namespace is gone"),
            id="it ended",
        ),
    ],
)
def test_a_status_says_what_was_reached(reached: Reached, status: EndpointStatus) -> None:
    assert endpoint_statuses(snapshot(SPEC), HERE, {}, reached) == {ID: status}


def test_a_problem_of_the_spec_is_an_error_even_when_the_link_is_there() -> None:
    reached = Reached(complete=frozenset({SPEC.interface}))

    statuses = endpoint_statuses(snapshot(SPEC), HERE, {ID: "profile a has tiers"}, reached)

    assert statuses[ID] == EndpointStatus(EndpointState.ERROR, 7, ADDRESSES, "profile a has tiers")


def test_an_inactive_endpoint_is_down() -> None:
    statuses = endpoint_statuses(snapshot(replace(SPEC, active=False)), HERE, {}, Reached())

    assert statuses[ID].state is EndpointState.DOWN


def test_endpoints_of_other_hosts_are_none_of_ours() -> None:
    other = replace(SPEC, id=endpoint_of_task(HostName("there"), WEB))

    assert endpoint_statuses(snapshot(other), HERE, {}, Reached()) == {}


def test_failures_are_told_of_the_task_or_of_the_host() -> None:
    interface = InterfaceName("cali1")
    to_task = Route(IPNetwork("192.168.0.1/32"), RouteKind.TASK, interface=interface)
    failures: dict[Change, str] = {
        AddRoute(to_task): "no device",
        AddRoute(Route(IPNetwork("192.168.1.0/26"), RouteKind.HOST)): "unreachable",
        SetSysctl("net/ipv4/ip_forward", "1"): "read-only",
        RemoveLink(interface): "busy",
    }

    assert failures_by_interface(failures) == {interface: "no device"}
    assert failures_of_host(failures) == (
        "AddRoute: unreachable",
        "RemoveLink: busy",
        "SetSysctl: read-only",
    )
