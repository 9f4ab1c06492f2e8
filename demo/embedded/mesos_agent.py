"""`python -m demo.embedded.mesos_agent`: the Mesos agent of one host."""

from __future__ import annotations

import ipaddress
import signal
import threading
from contextlib import ExitStack
from pathlib import Path

import click

from demo.mesos.agent import Agent, Setup
from demo.mesos.containers.api import Rules
from demo.mesos.isolators.api import Isolator
from demo.mesos.isolators.cni import CniIsolator
from demo.mesos.isolators.netmodules import NetModulesIsolator, read_modules
from demo.mesos.logs import log_to_stderr
from demo.mesos.records import HostName
from demo.mesos.resources import parse_resources
from demo.mesos.server import AgentServer
from demo.mesos.store import Store
from demo.mesos.version import DEFAULT_VERSION, MesosVersion, parse_version

DIRECTORY = click.Path(path_type=Path)
CNI_PLACE = Path("isolators/network/cni")


@click.command()
@click.option("--name", required=True, help="The host's name, as Marathon will report it.")
@click.option(
    "--listen",
    "listens",
    multiple=True,
    required=True,
    help="IP:PORT; port 0 means any free one. The first is the host's own, which executors use.",
)
@click.option("--state-dir", required=True, type=DIRECTORY)
@click.option("--runtime-dir", type=DIRECTORY, help="What a reboot empties; else the state dir.")
@click.option("--master", "masters", multiple=True, help="An address that may start tasks.")
@click.option(
    "--mesos-version", default=str(DEFAULT_VERSION), show_default=True, help="The Mesos to be."
)
@click.option(
    "--network-cni-config-dir",
    type=DIRECTORY,
    help="*.conf files; named networks are CNI's then, from Mesos 1.0 on.",
)
@click.option("--network-cni-plugins-dir", help="Where the CNI plugins are: DIR[:DIR...].")
@click.option(
    "--network-cni-root-dir-persist", is_flag=True, help="Keep CNI's state over a reboot."
)
@click.option("--isolation", type=click.Choice(["netmodules"]), help="For unnamed networks.")
@click.option("--modules", type=DIRECTORY, help="modules.json, with net-modules' programs.")
@click.option("--executor-registration-timeout", default=60.0, show_default=True)
@click.option("--late-addresses", default=0.0, help="Tell addresses so many seconds too late.")
@click.option("--nameserver", "nameservers", multiple=True, help="For tasks on their own network.")
@click.option(
    "--resources", default="ports:[31000-32000]", show_default=True, help="Ports that tasks get."
)
def main(
    name: str,
    listens: tuple[str, ...],
    state_dir: Path,
    runtime_dir: Path | None,
    masters: tuple[str, ...],
    mesos_version: str,
    network_cni_config_dir: Path | None,
    network_cni_plugins_dir: str | None,
    network_cni_root_dir_persist: bool,
    isolation: str | None,
    modules: Path | None,
    executor_registration_timeout: float,
    late_addresses: float,
    nameservers: tuple[str, ...],
    resources: str,
) -> None:
    """Own the tasks of one host, started by Marathon's stand-in."""
    log_to_stderr()
    try:
        first, *others = map(parse_address, listens)
        version = parse_version(mesos_version)
        ports = parse_resources(resources)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    isolators: list[Isolator] = []
    hidden: tuple[str, ...] = ()
    if network_cni_config_dir is not None and version.has_containers:
        place = state_dir if network_cni_root_dir_persist else runtime_dir or state_dir
        cni = _cni(
            config=network_cni_config_dir,
            plugins=network_cni_plugins_dir,
            root=place / CNI_PLACE,
            version=version,
        )
        isolators.append(cni)
        hidden = (str(cni.root),)
    if isolation is not None:
        isolators.append(_netmodules(modules, name))
    rules = Rules(registration=executor_registration_timeout, late_addresses=late_addresses)
    setup = Setup(rules, isolators, hidden, nameservers, ports)
    agent = Agent(HostName(name), first[0], listens[0], Store(state_dir), setup)
    with ExitStack() as stack:
        servers = [
            stack.enter_context(AgentServer(address, agent, masters, version))
            for address in (first, *others)
        ]
        agent.endpoint = f"{first[0]}:{servers[0].server_address[1]}"
        agent.start()
        stopped = threading.Event()
        for stop_signal in (signal.SIGTERM, signal.SIGINT):
            signal.signal(stop_signal, lambda _number, _frame: stopped.set())
        for server in servers:
            server.begin()
        click.echo(f"agent {name} on {agent.endpoint}")
        stopped.wait()
        for server in servers:
            server.shutdown()
        agent.stop()


def parse_address(text: str) -> tuple[str, int]:
    """IP:PORT; ValueError for anything that is no address."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    ipaddress.ip_address(host)
    return host, int(port)


def _cni(config: Path, plugins: str | None, root: Path, version: MesosVersion) -> CniIsolator:
    if plugins is None:
        raise click.UsageError("--network-cni-config-dir needs --network-cni-plugins-dir")
    isolator = CniIsolator(config, plugins, root.absolute(), version.strips_ipv6)
    try:
        isolator.start()
    except OSError as error:
        raise click.UsageError(f"network/cni: {error}") from error
    return isolator


def _netmodules(modules: Path | None, name: str) -> NetModulesIsolator:
    if modules is None:
        raise click.UsageError("--isolation netmodules needs --modules")
    try:
        return NetModulesIsolator(read_modules(modules), name)
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{modules}: {error}") from error


if __name__ == "__main__":
    main()
