"""The kernel tests' own tools: namespaces, wires and probes."""

import os
import socket
import time
from collections.abc import Callable

from netaddr import EUI, IPAddress

from tests.kernel.namespaces import Namespace
from tests.kernel.probes import connects, delivers, echoes, listening
from tests.kernel.sensors import FORBIDDEN, Sensor
from tests.kernel.wires import wire

A, B = IPAddress("10.9.0.1"), IPAddress("10.9.0.2")
A6, B6 = IPAddress("fd00:9::1"), IPAddress("fd00:9::2")


def inode() -> int:
    return os.stat("/proc/thread-self/ns/net").st_ino


def test_a_test_thread_enters_a_namespace_and_comes_back(
    namespace: Callable[[], Namespace],
) -> None:
    before = inode()
    task = namespace()
    with task.entered():
        assert inode() == task.ref.inode
    assert inode() == before != task.ref.inode


def test_two_wired_namespaces_reach_each_other_through_the_host(
    namespace: Callable[[], Namespace],
) -> None:
    one, two = namespace(), namespace()
    wire("cali1", one, EUI("02:00:00:00:00:01"), A, A6)
    wire("cali2", two, EUI("02:00:00:00:00:02"), B, B6)
    assert not delivers(one, two, B, 9000)
    for path in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        with open(f"/proc/sys/net/{path}", "w") as setting:
            setting.write("1")
    for address in (B, B6):
        with listening(two, address, 9000):
            assert connects(one, address, 9000)
        assert not connects(one, address, 9001)
        assert delivers(one, two, address, 9000)
        assert echoes(one, address)


def test_a_sensor_sees_what_is_forbidden_and_nothing_else(
    namespace: Callable[[], Namespace],
) -> None:
    task = namespace()
    with Sensor(task) as sensor:
        wire("cali1", task, EUI("02:00:00:00:00:01"), A, A6)
        for address, level, option in (
            (A, socket.IPPROTO_IP, socket.IP_TOS),
            (A6, socket.IPPROTO_IPV6, socket.IPV6_TCLASS),
        ):
            before = len(sensor.forbidden)
            family = socket.AF_INET if address.version == 4 else socket.AF_INET6
            with socket.socket(family, socket.SOCK_DGRAM) as sender:
                for kind in (0, FORBIDDEN ^ 0x80, FORBIDDEN):
                    sender.setsockopt(level, option, kind)
                    sender.sendto(b"seen", (str(address), 9000))
            deadline = time.monotonic() + 5
            while len(sensor.forbidden) == before and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(0.2)
            assert len(sensor.forbidden) == before + 1
