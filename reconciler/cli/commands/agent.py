"""`marathon-calico agent`: datastore to kernel, one per host."""

import socket
import sys
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import click
from netaddr import IPAddress

from calico.dataplane.state import MARK
from calico.errors import CalicoError
from calico.identifiers import check_host
from calico.model import HostName, Protected
from reconciler.agent.locators.api import LOCATOR_NAMES, LocatorName
from reconciler.agent.main import run_agent
from reconciler.agent.settings import (
    DOCKER_SOCKET,
    HOST_PORTS,
    LISTEN,
    LOCATORS,
    MESOS_AGENT,
    STATE_DIRECTORY,
    AgentSettings,
    parse_host_ports,
    parse_mark,
    parse_protected,
    protected_servers,
)
from reconciler.attach.plugin import SOCKET
from reconciler.cli.credentials import credentials_option, with_user
from reconciler.cli.flags import ADDRESS, NETWORK_NAME, SOCKET_PATH, Parsed, ServerUrl
from reconciler.cli.options import EtcdSettings, FirstOwnVariable, etcd_options
from reconciler.cli.serving import listen_option, log_options
from reconciler.core.tasks.profiles import NETWORK
from reconciler.logs import setup

NoLocator = Literal["none"]
Named = LocatorName | NoLocator
#: What `--locator` says where plugins attach every task.
NO_LOCATOR: NoLocator = "none"


@click.command()
@etcd_options
@click.option(
    "--host",
    cls=FirstOwnVariable,
    type=Parsed("NAME", check_host),
    envvar="HOST",
    help="Name of this host as Marathon calls it.  [default: $HOST, else the hostname]",
)
@click.option(
    "--address",
    type=ADDRESS,
    help="This host's address on the underlay.  [default: that of the default route]",
)
@click.option(
    "--routing",
    type=click.Choice(["direct", "none"]),
    default="direct",
    show_default=True,
    help="Whether to route to the task addresses of other hosts.",
)
@click.option(
    "--mark-bit",
    type=Parsed("HEX", parse_mark),
    default=f"{MARK:#x}",
    show_default=True,
    help="The bit of the packet mark that is ours.",
)
@click.option(
    "--locator",
    "locator",
    type=click.Choice([*LOCATOR_NAMES, NO_LOCATOR]),
    multiple=True,
    default=LOCATORS,
    show_default=True,
    help="How tasks are found that no plugin attached; may be repeated.",
)
@click.option(
    "--mesos-agent",
    type=ServerUrl(MESOS_AGENT, credentials="--mesos-credentials"),
    default=MESOS_AGENT,
    show_default=True,
    help="This host's Mesos agent.",
)
@credentials_option("--mesos-credentials", "the Mesos agent")
@click.option(
    "--docker-socket",
    type=SOCKET_PATH,
    default=str(DOCKER_SOCKET),
    show_default=True,
    help="The Docker engine that `--locator docker` asks.",
)
@click.option(
    "--host-ports",
    type=Parsed("LIST", parse_host_ports),
    default=HOST_PORTS,
    show_default=True,
    help="Ports that tasks may reach on any host of ours.",
)
@click.option(
    "--protect",
    type=Parsed("CIDR[:PORT]", lambda text: parse_protected([text], _resolve)),
    multiple=True,
    help="Closed to tasks whatever the policy says; may be repeated.  [default: etcd's servers]",
)
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, readable=False, path_type=Path),
    default=STATE_DIRECTORY,
    show_default=True,
    help="Where the last good state is kept; one directory per agent.",
)
@click.option(
    "--socket",
    type=SOCKET_PATH,
    help=f"Where plugins ask for containers' networks.  [default: {SOCKET}]",
)
@click.option(
    "--network",
    type=NETWORK_NAME,
    multiple=True,
    default=(NETWORK,),
    show_default=True,
    help="Network that the CNI plugin serves, one of the controller's; may be repeated.",
)
@listen_option(LISTEN, "/healthz, /readyz, /metrics and /kernel")
@log_options
def agent(etcd: EtcdSettings, log_level: str, log_format: str, **flags: Any) -> None:
    """Make this host's kernel hold what etcd asks for."""
    setup(log_level, log_format, sys.stderr)
    sys.exit(run_agent(_settings(etcd, **flags)))


def _settings(
    etcd: EtcdSettings,
    host: str | None,
    protect: tuple[tuple[Protected, ...], ...],
    mark_bit: int,
    routing: str,
    locator: tuple[Named, ...],
    network: tuple[str, ...],
    mesos_agent: str,
    mesos_credentials: tuple[str, str] | None,
    **flags: Any,
) -> AgentSettings:
    try:
        locators = _locators(locator)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return AgentSettings(
        host=HostName(host) if host else _own_name(),
        open_datastore=etcd.open,
        mark=mark_bit,
        protected=tuple(dict.fromkeys(chain(*protect))) or _servers_of(etcd),
        route_to_hosts=routing == "direct",
        locators=locators,
        networks=frozenset(network),
        mesos_agent=with_user(mesos_agent, mesos_credentials),
        **flags,
    )


def _own_name() -> HostName:
    name = socket.gethostname()
    try:
        return check_host(name)
    except CalicoError as error:
        raise click.UsageError(f"this machine's name: {error}; name it with --host") from error


def _servers_of(etcd: EtcdSettings) -> tuple[Protected, ...]:
    """What no task may reach unless it is said otherwise."""
    try:
        return protected_servers(etcd.urls, _resolve)
    except ValueError as error:
        raise click.UsageError(f"--etcd: {error}") from error


def _locators(names: tuple[Named, ...]) -> tuple[LocatorName, ...]:
    """Each once; none if that is what was asked for."""
    found = tuple(dict.fromkeys(name for name in names if name != NO_LOCATOR))
    if found and NO_LOCATOR in names:
        raise ValueError("--locator none stands alone: it means that tasks are not looked for")
    return found


def _resolve(name: str) -> tuple[IPAddress, ...]:
    """All addresses of a name; none if there is no such."""
    try:
        answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return ()
    return tuple(
        dict.fromkeys(IPAddress(str(answer[4][0]).partition("%")[0]) for answer in answers)
    )
