"""Who may reach whom in a chaos run, and what a sensor reads from a packet."""

import socket

import pytest
from netaddr import IPAddress

from demo.stories.matrix import Host, Sender, Task
from tests.chaos.actions import Wish
from tests.chaos.packets import (
    Arrival,
    Kind,
    is_leak,
    parse_arrival,
    render_packet,
    render_probe,
)
from tests.chaos.watched import Found, parse_environment
from tests.chaos.wishes import render_app, render_group
from tests.kernel.probes import ipv4_packet, tcp_payload
from tests.kernel.sensors import ETH_P_IP, FORBIDDEN, type_of_service

A, B = IPAddress("192.168.0.1"), IPAddress("192.168.0.2")


def task(name: str, *groups: str) -> Task:
    return Task(name, "host-1", groups, (7000, 7001))


@pytest.mark.parametrize(
    ("source", "receiver", "leaks"),
    [
        pytest.param(Host("host-1"), task("b", "blue"), False, id="from its own host"),
        pytest.param(Host("host-2"), task("b", "blue"), True, id="from another host"),
        pytest.param(Host("host-2"), task("b", "public"), False, id="a public one from a host"),
        pytest.param(task("a", "red"), task("b", "red"), False, id="a group in common"),
        pytest.param(task("a", "red"), task("b", "blue"), True, id="none in common"),
        pytest.param(task("a"), task("b"), True, id="no groups at all"),
        pytest.param(task("a", "red"), task("b", "public"), False, id="to a public one"),
        pytest.param(task("a", "public"), task("b", "red"), True, id="from a public one"),
        pytest.param(task("a"), task("a"), False, id="to itself"),
    ],
)
def test_a_leak_is_what_the_groups_keep_from_arriving(
    source: Sender, receiver: Task, leaks: bool
) -> None:
    assert is_leak(source, receiver) is leaks


@pytest.mark.parametrize("kind", list(Kind))
def test_a_probe_is_read_back_from_a_packet_of_any_kind(kind: Kind) -> None:
    packet = render_packet(kind, str(A), str(B), render_probe("a", "b", 7))

    assert parse_arrival(packet) == Arrival("a", "b", 7)
    assert type_of_service(ETH_P_IP, packet) == FORBIDDEN


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(
            ipv4_packet(A, B, socket.IPPROTO_ICMP, b"\x03\x03" + bytes(6) + b"a|b|7"),
            id="that it was refused",
        ),
        pytest.param(
            ipv4_packet(A, B, socket.IPPROTO_TCP, tcp_payload(A, B, 7000, 7002, 0x14)),
            id="a reset",
        ),
        pytest.param(b"", id="nothing"),
    ],
)
def test_an_answer_of_a_kernel_is_no_probe(packet: bytes) -> None:
    assert parse_arrival(packet) is None


@pytest.mark.parametrize("attached", [True, False])
def test_a_task_says_itself_which_groups_it_has_and_how_it_got_its_network(attached: bool) -> None:
    app = render_app(Wish(0.0, "a", 2, ("blue", "red"), attached))
    own = [f"{name}={value}" for name, value in app["env"].items()]
    words = ["MESOS_TASK_ID=chaos_a.1", "HOST=host-2"]

    assert app["ipAddress"]["groups"] == ["blue", "red"]
    assert ("networkName" in app["ipAddress"]) is attached
    assert parse_environment(7, "\0".join((*words, *own)).encode()) == Found(
        7, Task("chaos_a.1", "host-2", ("blue", "red"), (7000, 7001)), attached
    )
    assert parse_environment(7, "\0".join(words).encode()) is None


def test_an_app_of_no_tasks_is_deleted() -> None:
    wishes = {"a": Wish(0.0, "a", 1), "b": Wish(1.0, "b", 0)}

    assert [app["id"] for app in render_group(wishes)["apps"]] == ["a"]
