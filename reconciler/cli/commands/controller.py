"""`marathon-calico controller`: Marathon to datastore."""

import sys

import click
from netaddr import AddrFormatError, IPNetwork

from calico.model import Pool
from marathon_client.endpoints import parse_endpoint
from marathon_client.errors import MarathonError
from reconciler.cli.options import EtcdSettings, Parsed, etcd_options, log_options
from reconciler.controller.main import run_controller
from reconciler.controller.settings import ControllerSettings, parse_pool
from reconciler.logs import setup
from reconciler.runtime.listener import ListenAddress, parse_listen


def _parse_source(text: str) -> IPNetwork:
    """A source network; a bare address is a network of one."""
    try:
        return IPNetwork(text).cidr
    except (AddrFormatError, ValueError) as error:
        raise ValueError(f"{text!r} is no network such as 10.0.0.0/8") from error


@click.command()
@etcd_options
@click.option(
    "--marathon",
    metavar="URL",
    multiple=True,
    default=("http://127.0.0.1:8080",),
    show_default=True,
    help="Marathon; may be repeated, each is tried. The stream goes to the leader.",
)
@click.option(
    "--pool",
    "pool",
    type=Parsed("CIDR", parse_pool),
    multiple=True,
    help="Where addresses come from.  [default: 192.168.0.0/16 if etcd has no pool]",
)
@click.option(
    "--port-policy",
    type=click.Choice(["declared", "open"]),
    default="declared",
    show_default=True,
    help="Whether groups reach only discovery ports, or every port.",
)
@click.option(
    "--allow-from",
    type=Parsed("CIDR", _parse_source),
    multiple=True,
    help="May reach every task's declared ports.  [default: the addresses of --marathon]",
)
@click.option(
    "--network",
    "network",
    metavar="NAME",
    multiple=True,
    default=("calico",),
    show_default=True,
    help="Container network that is ours; may be repeated.",
)
@click.option(
    "--resync",
    type=click.FloatRange(min=1),
    default=60.0,
    show_default=True,
    help="Seconds between complete lists.",
)
@click.option(
    "--listen",
    type=Parsed("HOST:PORT", parse_listen),
    default=":9401",
    show_default=True,
    help="Where /healthz, /readyz, /leader and /metrics are served; port 0 is any free one.",
)
@log_options
def controller(
    etcd: EtcdSettings,
    marathon: tuple[str, ...],
    pool: tuple[Pool, ...],
    port_policy: str,
    allow_from: tuple[IPNetwork, ...],
    network: tuple[str, ...],
    resync: float,
    listen: ListenAddress,
    log_level: str,
    log_format: str,
) -> None:
    """Follow Marathon and write what each task's network should be."""
    setup(log_level, log_format, sys.stderr)
    try:
        for url in marathon:
            parse_endpoint(url)
    except MarathonError as error:
        raise click.BadParameter(str(error), param_hint="--marathon") from error
    settings = ControllerSettings(
        open_datastore=etcd.open,
        marathon=marathon,
        pools=pool,
        ports_declared=port_policy == "declared",
        allow_from=allow_from or None,
        networks=frozenset(network),
        resync=resync,
        listen=listen,
    )
    sys.exit(run_controller(settings))
