"""`marathon-calico controller`: Marathon to datastore."""

import math
import sys
from urllib.parse import urlsplit

import click
from netaddr import IPNetwork

from calico.iptext import is_host
from calico.model import Pool
from marathon_client.endpoints import Credentials, Identity, TlsFiles, parse_endpoint
from marathon_client.errors import InvalidUrl
from marathon_client.models import AppId
from reconciler.cli.access import marathon_access_options
from reconciler.cli.credentials import credentials_option
from reconciler.cli.flags import CIDR, NETWORK_NAME, Parsed
from reconciler.cli.options import EtcdSettings, etcd_options
from reconciler.cli.serving import listen_option, log_options
from reconciler.controller.bootstrap import DEFAULT_POOL
from reconciler.controller.main import run_controller
from reconciler.controller.settings import (
    LISTEN,
    MARATHON,
    ControllerSettings,
    parse_app_id,
    parse_pool,
)
from reconciler.core.tasks.profiles import NETWORK
from reconciler.logs import setup
from reconciler.runtime.listener import ListenAddress


def _parse_marathon(text: str) -> str:
    """Where Marathon is, as it is written; raises ValueError."""
    shown = text.rpartition("@")[2]
    try:
        host = urlsplit(parse_endpoint(text).url).hostname or ""
    except InvalidUrl as error:
        raise ValueError(f"{shown!r}: {error}") from error
    if not is_host(host):
        raise ValueError(f"{shown!r} names no host: write http://HOST:PORT")
    return text


def _parse_master(text: str) -> str:
    """Where a Mesos master is, as it is written; raises ValueError."""
    try:
        return _parse_marathon(text)
    except ValueError as error:
        shown = text.rpartition("@")[2]
        raise ValueError(f"{shown!r} is not a URL such as http://10.0.0.1:5050") from error


def _parse_seconds(text: str) -> float:
    """An interval; raises ValueError."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds < math.inf:
        raise ValueError(f"{text!r} is no number of seconds from 1 on, such as 60")
    return seconds


@click.command()
@etcd_options
@click.option(
    "--marathon",
    type=Parsed("URL", _parse_marathon, credentials="--marathon-credentials"),
    multiple=True,
    default=(MARATHON,),
    show_default=True,
    help="Marathon; may be repeated, each is tried. The stream goes to the leader.",
)
@marathon_access_options
@click.option(
    "--pool",
    "pool",
    type=Parsed("CIDR", parse_pool),
    multiple=True,
    help=f"Where addresses come from.  [default: {DEFAULT_POOL.cidr} if etcd has no pool]",
)
@click.option(
    "--port-policy",
    type=click.Choice(["declared", "open"]),
    default="declared",
    show_default=True,
    help="Whether groups reach only declared ports, or every port.",
)
@click.option(
    "--allow-from",
    type=CIDR,
    multiple=True,
    help="May reach every task's declared ports.  [default: the addresses of --marathon]",
)
@click.option(
    "--network",
    "network",
    type=NETWORK_NAME,
    multiple=True,
    default=(NETWORK,),
    show_default=True,
    help="Container network that is ours; may be repeated.",
)
@click.option(
    "--resync",
    type=Parsed("SECONDS", _parse_seconds),
    default=60.0,
    show_default=True,
    help="Seconds between complete lists.",
)
@click.option(
    "--scale-agents",
    type=Parsed("APP_ID", parse_app_id),
    help="Keep this app at one instance for each Mesos agent.  [default: leave it alone]",
)
@click.option(
    "--mesos-master",
    type=Parsed("URL", _parse_master, credentials="--mesos-credentials"),
    multiple=True,
    help="Tells how many Mesos agents there are; may be repeated.  [default: as Marathon says]",
)
@credentials_option("--mesos-credentials", "the Mesos masters")
@listen_option(LISTEN, "/healthz, /readyz, /leader and /metrics")
@log_options
def controller(
    etcd: EtcdSettings,
    marathon: tuple[str, ...],
    marathon_credentials: Identity | None,
    marathon_ca: str | None,
    marathon_cert: str | None,
    marathon_key: str | None,
    pool: tuple[Pool, ...],
    port_policy: str,
    allow_from: tuple[IPNetwork, ...],
    network: tuple[str, ...],
    resync: float,
    scale_agents: AppId | None,
    mesos_master: tuple[str, ...],
    mesos_credentials: tuple[str, str] | None,
    listen: ListenAddress,
    log_level: str,
    log_format: str,
) -> None:
    """Follow Marathon and write what each task's network should be."""
    setup(log_level, log_format, sys.stderr)
    if mesos_master and scale_agents is None:
        raise click.UsageError("--mesos-master is of use only together with --scale-agents")
    if bool(marathon_cert) != bool(marathon_key):
        raise click.UsageError("--marathon-cert and --marathon-key belong together")
    settings = ControllerSettings(
        open_datastore=etcd.open,
        marathon=marathon,
        marathon_credentials=marathon_credentials,
        marathon_tls=TlsFiles(marathon_ca or "", marathon_cert or "", marathon_key or ""),
        pools=pool,
        ports_declared=port_policy == "declared",
        allow_from=allow_from or None,
        networks=frozenset(network),
        resync=resync,
        listen=listen,
        scale_agents=scale_agents,
        mesos_masters=mesos_master,
        mesos_credentials=Credentials(*mesos_credentials) if mesos_credentials else None,
    )
    sys.exit(run_controller(settings))
