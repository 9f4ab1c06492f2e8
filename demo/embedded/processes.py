"""What runs on which host of the embedded cluster, as command lines."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from demo.embedded.hosts import MASTER, HostPlan

ETCD_PORT = 2379
ETCD_PEER_PORT = 2380
MARATHON_PORT = 8080
MESOS_AGENT_PORT = 5051
CONTROLLER_PORT = 9401
AGENT_PORT = 9402
DNS_PORT = 53
DNS_PAGES_PORT = 9403
FACTS_PORT = 9004
MESOS_DNS_PORT = 8053
#: What tasks on a host's network may get: Star's ports, our own, and any.
MESOS_PORTS = ("9000-9001", f"{CONTROLLER_PORT}-{AGENT_PORT}", "31000-32000")
#: Between the ports of one and of the next of several on the master.
PORT_STEP = 10
#: Arguments under this name are every agent's.
EVERY_AGENT = "agent"
#: On every host: what its Mesos agent notes, and our agent.
MESOS_DIRECTORY = "/run/mesos"
STATE_DIRECTORY = "/run/marathon-calico/state"
PROJECT = Path(__file__).resolve().parents[2]

FIRST_DELAY = 0.1
LONGEST_DELAY = 5.0


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process that the supervisor keeps running on a host.

    `descriptors` stay open in it under the same numbers.
    """

    name: str
    host: str
    argv: tuple[str, ...]
    descriptors: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Shape:
    """How many there are of what a supervised cluster may have several of.

    etcd and Marathon listen so many ports `apart` from where all look for them, members
    of etcd from where the others do too: there something may stand in between.
    """

    etcd_members: int = 1
    controllers: int = 1
    apart: int = 0


def restart_delay(quick_failures: int) -> float:
    """Seconds until the next start after so many failures in a row."""
    return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(quick_failures, 20))


def plan_processes(
    hosts: Sequence[HostPlan],
    etcd: str,
    marathon_descriptor: int,
    page_descriptor: int,
    arguments: Mapping[str, Sequence[str]],
    supervised: bool,
    shape: Shape,
) -> tuple[ProcessSpec, ...]:
    """Every process of the cluster; `arguments` adds to the command lines by name.

    Only a `supervised` cluster has controllers and agents among them: else they
    are tasks of Marathon. What is added to `agent` is added to each of them.
    """
    address_by_host = {plan.name: plan.address for plan in hosts}
    master = str(address_by_host[MASTER])
    workers = [plan for plan in hosts if plan.name != MASTER]
    store = _etcd_flags(etcd_urls(master, shape.etcd_members))
    specs = [
        *(_etcd(etcd, master, number, shape) for number in range(shape.etcd_members)),
        _marathon(master, marathon_descriptor, workers, shape),
        *(_controller(hosts, store, number) for number in range(shape.controllers) if supervised),
        _dns(master, store),
        _mesos_dns(master),
        _page(master, page_descriptor),
        _facts(master, store),
    ]
    for plan in workers:
        specs.append(_mesos_agent(plan, master))
        if supervised:
            agent = _agent(plan, store)
            specs.append(replace(agent, argv=(*agent.argv, *arguments.get(EVERY_AGENT, ()))))
    return tuple(
        ProcessSpec(
            spec.name,
            spec.host,
            (*spec.argv, *arguments.get(spec.name, ())),
            spec.descriptors,
        )
        for spec in specs
    )


def etcd_urls(master: str, members: int = 1) -> tuple[str, ...]:
    """Where the members of etcd answer, seen from any host."""
    return tuple(f"http://{master}:{_port(ETCD_PORT, number)}" for number in range(members))


def etcd_peer_urls(master: str, members: int) -> tuple[str, ...]:
    """Where the members of etcd find each other."""
    return tuple(f"http://{master}:{_port(ETCD_PEER_PORT, number)}" for number in range(members))


def product_command() -> str:
    """Path of `marathon-calico`, beside the Python that runs this."""
    return str(Path(sys.executable).with_name("marathon-calico"))


def _port(first: int, number: int) -> int:
    return first + PORT_STEP * number


def _name(name: str, number: int) -> str:
    """The first of several has the name that the only one has."""
    return f"{name}-{number + 1}" if number else name


def _etcd_flags(urls: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for url in urls for word in ("--etcd", url))


def _etcd(program: str, master: str, number: int, shape: Shape) -> ProcessSpec:
    port = _port(ETCD_PORT, number) + shape.apart
    peer = _port(ETCD_PEER_PORT, number) + shape.apart
    peers = {
        _name(MASTER, each): url
        for each, url in enumerate(etcd_peer_urls(master, shape.etcd_members))
    }
    name = _name(MASTER, number)
    argv = (
        program,
        "--enable-v2=true",
        f"--name={name}",
        f"--data-dir=/run/{_name('etcd', number)}",
        f"--listen-client-urls=http://{master}:{port},http://127.0.0.1:{port}",
        f"--advertise-client-urls={etcd_urls(master, shape.etcd_members)[number]}",
        f"--listen-peer-urls=http://{master}:{peer}",
        f"--initial-advertise-peer-urls={peers[name]}",
        f"--initial-cluster={','.join(f'{each}={url}' for each, url in peers.items())}",
        "--log-level=warn",
    )
    return ProcessSpec(_name("etcd", number), MASTER, argv)


def _marathon(
    master: str, descriptor: int, workers: Sequence[HostPlan], shape: Shape
) -> ProcessSpec:
    agents = (
        argument
        for plan in workers
        for argument in ("--agent", f"{plan.name}=http://{plan.address}:{MESOS_AGENT_PORT}")
    )
    argv = (
        *_module("demo.marathon"),
        "--listen-fd",
        str(descriptor),
        "--listen",
        f"{master}:{MARATHON_PORT + shape.apart}",
        "--leader",
        f"{master}:{MARATHON_PORT}",
        "--state",
        "/run/marathon.json",
        *agents,
    )
    return ProcessSpec("marathon", MASTER, argv, (descriptor,))


def _controller(hosts: Sequence[HostPlan], store: Sequence[str], number: int) -> ProcessSpec:
    """The first is the master's; each of the others is elsewhere as long as there are hosts."""
    master, plan = hosts[0].address, hosts[number % len(hosts)]
    argv = (
        product_command(),
        "controller",
        *store,
        "--marathon",
        f"http://{master}:{MARATHON_PORT}",
        "--listen",
        f"{plan.address}:{_port(CONTROLLER_PORT, number)}",
    )
    return ProcessSpec(_name("controller", number), plan.name, argv)


def _dns(master: str, store: Sequence[str]) -> ProcessSpec:
    argv = (
        product_command(),
        "dns",
        *store,
        "--listen-dns",
        f"{master}:{DNS_PORT}",
        "--forward",
        f"{master}:{MESOS_DNS_PORT}",
        "--listen",
        f"{master}:{DNS_PAGES_PORT}",
    )
    return ProcessSpec("dns", MASTER, argv)


def _mesos_dns(master: str) -> ProcessSpec:
    argv = (
        *_module("demo.names"),
        "--listen",
        f"{master}:{MESOS_DNS_PORT}",
        "--marathon",
        f"http://{master}:{MARATHON_PORT}",
    )
    return ProcessSpec("mesos-dns", MASTER, argv)


def _page(master: str, descriptor: int) -> ProcessSpec:
    argv = (
        *_module("demo.page"),
        "--listen-fd",
        str(descriptor),
        "--marathon",
        f"http://{master}:{MARATHON_PORT}",
    )
    return ProcessSpec("page", MASTER, argv, (descriptor,))


def _facts(master: str, store: Sequence[str]) -> ProcessSpec:
    argv = (
        *_module("demo.star.facts"),
        *store,
        "--listen",
        f"{master}:{FACTS_PORT}",
        "--marathon",
        f"http://{master}:{MARATHON_PORT}",
    )
    return ProcessSpec("facts", MASTER, argv)


def _mesos_agent(plan: HostPlan, master: str) -> ProcessSpec:
    argv = (
        *_module("demo.embedded.mesos_host"),
        "--name",
        plan.name,
        "--listen",
        f"{plan.address}:{MESOS_AGENT_PORT}",
        "--listen",
        f"127.0.0.1:{MESOS_AGENT_PORT}",
        "--state-dir",
        MESOS_DIRECTORY,
        "--master",
        master,
        "--nameserver",
        master,
        "--resources",
        f"ports:[{','.join(MESOS_PORTS)}]",
    )
    return ProcessSpec(f"mesos-{plan.name}", plan.name, argv)


def _agent(plan: HostPlan, store: Sequence[str]) -> ProcessSpec:
    argv = (
        product_command(),
        "agent",
        *store,
        "--host",
        plan.name,
        "--address",
        str(plan.address),
        "--mesos-agent",
        f"http://{plan.address}:{MESOS_AGENT_PORT}",
        "--state-dir",
        STATE_DIRECTORY,
        "--listen",
        f"{plan.address}:{AGENT_PORT}",
    )
    return ProcessSpec(f"agent-{plan.name}", plan.name, argv)


def _module(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name)
