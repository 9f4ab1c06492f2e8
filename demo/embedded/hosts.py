"""Hosts of the embedded cluster: namespaces with a network of their own between them.

A host is a process that does nothing but hold its namespaces. They are wired by
one bridge, as machines on one switch are.
"""

from __future__ import annotations

import os
import signal
import socket
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from netaddr import IPAddress, IPNetwork

from demo.embedded import namespaces

if TYPE_CHECKING:
    from pyroute2 import IPRoute

UNDERLAY = IPNetwork("172.31.80.0/24")
GATEWAY = UNDERLAY[1]
MASTER_ADDRESS = UNDERLAY[10]
#: Where the product's addresses come from, unless its controller is told otherwise.
POOL = IPNetwork("192.168.0.0/16")
MASTER = "master"
BRIDGE = "underlay"
HOST_LIMIT = 100
DESCRIPTOR_LIMIT = 1 << 16

#: As on a Debian or Ubuntu machine: loose source checks, no forwarding before
#: somebody asks for it.
SYSCTLS = {
    "net/ipv4/conf/default/rp_filter": "2",
    "net/ipv4/conf/eth0/rp_filter": "2",
    "net/ipv4/ip_forward": "0",
    "net/ipv6/conf/default/accept_ra": "0",
}


class HostError(Exception):
    """A host or the network between the hosts could not be made."""


@dataclass(frozen=True, slots=True)
class HostPlan:
    """A host to be: its name and its address on the underlay."""

    name: str
    address: IPAddress


def plan_hosts(count: int) -> tuple[HostPlan, ...]:
    """The master, then `host-1` to `host-<count>`."""
    if not 1 <= count <= HOST_LIMIT:
        raise ValueError(f"{count} hosts: between 1 and {HOST_LIMIT} are possible")
    agents = (HostPlan(f"host-{number}", UNDERLAY[10 + number]) for number in range(1, count + 1))
    return (HostPlan(MASTER, MASTER_ADDRESS), *agents)


def render_names(hosts: Sequence[HostPlan]) -> str:
    """The content of /etc/hosts on every host."""
    lines = [f"{plan.address} {plan.name}" for plan in hosts]
    return "\n".join(("127.0.0.1 localhost", "::1 localhost", *lines, ""))


def start_host(plan: HostPlan, all_hosts: Sequence[HostPlan]) -> int:
    """Fork the process that is the host; returns its pid once its namespaces exist."""
    ready_read, ready_write = os.pipe2(os.O_CLOEXEC)
    names = render_names(all_hosts)

    def child() -> NoReturn:
        os.close(ready_read)
        _hold(plan, names, ready_write)

    pid = namespaces.fork(child)
    os.close(ready_write)
    with os.fdopen(ready_read, "rb") as reader:
        reason = reader.read().decode()
    if reason != "ready":
        os.waitpid(pid, 0)
        raise HostError(f"host {plan.name}: {reason or 'ended at once'}")
    return pid


def _hold(plan: HostPlan, names: str, ready: int) -> NoReturn:
    # It is forked but executes nothing, so that the supervisor's descriptors stay open in it.
    os.closerange(3, ready)
    os.closerange(ready + 1, DESCRIPTOR_LIMIT)
    try:
        namespaces.unshare(namespaces.HOST)
        socket.sethostname(plan.name)
        namespaces.mount_private_run()
        _furnish(names)
    except OSError as error:
        os.write(ready, str(error).encode())
        os._exit(1)
    os.write(ready, b"ready")
    os.close(ready)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while True:
        signal.pause()


def _furnish(names: str) -> None:
    """Every boot of a host has an id of its own, every machine too; the master knows names."""
    files = {
        "/proc/sys/kernel/random/boot_id": f"{uuid.uuid4()}\n",
        "/etc/machine-id": f"{uuid.uuid4().hex}\n",
        "/etc/hosts": names,
        # It refuses at once what is no task's: a name of elsewhere must not cost seconds.
        "/etc/resolv.conf": f"nameserver {MASTER_ADDRESS}\noptions timeout:1 attempts:1\n",
    }
    own = Path("/run/host")
    own.mkdir()
    for name, content in files.items():
        file = own / Path(name).name
        file.write_text(content)
        # Some systems keep links to /run here, which is empty by now.
        installed = Path(name).resolve()
        if installed.is_relative_to("/run"):
            installed.parent.mkdir(parents=True, exist_ok=True)
            installed.touch()
        if installed.is_file():
            namespaces.bind(file, installed)


def connect_hosts(pids: Mapping[HostPlan, int]) -> None:
    """Wire the hosts to one bridge in the caller's network namespace.

    It runs in a child process: pyroute2 stays out of the supervisor, and the
    child may change its network namespace as it goes.
    """
    report_read, report_write = os.pipe2(os.O_CLOEXEC)

    def child() -> NoReturn:
        os.close(report_read)
        _connect(pids, report_write)

    pid = namespaces.fork(child)
    os.close(report_write)
    with os.fdopen(report_read, "rb") as reader:
        reason = reader.read().decode()
    os.waitpid(pid, 0)
    if reason != "done":
        raise HostError(f"network between the hosts: {reason or 'ended at once'}")


def _connect(pids: Mapping[HostPlan, int], report: int) -> NoReturn:
    # Imported in the child, so that the supervisor neither waits for it nor keeps it.
    from pyroute2 import IPRoute, NetlinkError  # noqa: PLC0415 - see above

    try:
        # A router that knows nowhere to go says so, instead of letting its hosts wait.
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        with IPRoute() as links:
            _make_switch(links, pids)
        for plan, pid in pids.items():
            with namespaces.network_of(pid):
                _write_sysctls()
                with IPRoute() as links:
                    _address_host(links, plan)
                    if plan.name == MASTER:
                        _lead_to_tasks(links, pids)
    except (OSError, NetlinkError) as error:
        os.write(report, str(error).encode())
        os._exit(1)
    os.write(report, b"done")
    os._exit(0)


def _make_switch(links: IPRoute, pids: Mapping[HostPlan, int]) -> None:
    links.link("set", index=1, state="up")
    links.link("add", ifname=BRIDGE, kind="bridge", br_forward_delay=0)
    (bridge,) = links.link_lookup(ifname=BRIDGE)
    links.addr("add", index=bridge, address=str(GATEWAY), prefixlen=UNDERLAY.prefixlen)
    links.link("set", index=bridge, state="up")
    for plan, pid in pids.items():
        links.link(
            "add",
            ifname=plan.name,
            kind="veth",
            peer={"ifname": "eth0", "net_ns_fd": f"/proc/{pid}/ns/net"},
        )
        (port,) = links.link_lookup(ifname=plan.name)
        links.link("set", index=port, master=bridge, state="up")


def _write_sysctls() -> None:
    for name, value in SYSCTLS.items():
        path = Path("/proc/sys") / name
        # A kernel without IPv6 lacks some of them.
        if path.exists():
            path.write_text(value)


def _address_host(links: IPRoute, plan: HostPlan) -> None:
    links.link("set", index=1, state="up")
    (interface,) = links.link_lookup(ifname="eth0")
    links.addr("add", index=interface, address=str(plan.address), prefixlen=UNDERLAY.prefixlen)
    links.link("set", index=interface, state="up")
    links.route("add", dst="default", gateway=str(GATEWAY))


def _lead_to_tasks(links: IPRoute, pids: Mapping[HostPlan, int]) -> None:
    """The master has no agent: a host that has one leads its health checks to all tasks."""
    leading = next((plan for plan in pids if plan.name != MASTER), None)
    if leading is not None:
        links.route("add", dst=str(POOL), gateway=str(leading.address))
