"""`marathon-calico dns`: names of tasks from the datastore."""

import sys
from typing import Any

import click
from netaddr import IPNetwork

from reconciler.cli.flags import CIDR, Parsed
from reconciler.cli.options import EtcdSettings, etcd_options
from reconciler.cli.serving import listen_option, log_options
from reconciler.dns.main import run_dns
from reconciler.dns.names import parse_domain, suffixes_of
from reconciler.dns.settings import (
    DOMAIN,
    FRAMEWORK,
    LISTEN,
    LISTEN_DNS,
    DnsSettings,
    parse_framework,
    parse_listen_dns,
    parse_resolver,
)
from reconciler.logs import setup
from reconciler.runtime.listener import ListenAddress


@click.command()
@etcd_options
@click.option(
    "--listen-dns",
    type=Parsed("HOST:PORT", parse_listen_dns),
    default=str(LISTEN_DNS),
    show_default=True,
    help="Where questions are answered, by UDP and TCP; port 0 is any free one.",
)
@click.option(
    "--domain",
    type=Parsed("NAME", parse_domain),
    default=DOMAIN,
    show_default=True,
    help="What all names of tasks end in.",
)
@click.option(
    "--framework",
    type=Parsed("NAME", parse_framework),
    default=FRAMEWORK,
    show_default=True,
    help="Marathon's name in Mesos, which stands before the domain.",
)
@click.option(
    "--resolver",
    "resolver",
    type=Parsed("IP", parse_resolver),
    multiple=True,
    help="Asked about all other names; may be repeated.  [default: the first of /etc/resolv.conf]",
)
@click.option(
    "--forward",
    "forward",
    type=Parsed("IP", parse_resolver),
    multiple=True,
    help="Asked about names of the domain that no task of ours has; may be repeated.",
)
@click.option(
    "--allow",
    "allow",
    type=CIDR,
    multiple=True,
    help="Who may ask; may be repeated.  [default: this machine, the pools and the hosts]",
)
@listen_option(LISTEN, "/healthz, /readyz and /metrics")
@log_options
def dns(
    etcd: EtcdSettings,
    log_level: str,
    log_format: str,
    resolver: tuple[ListenAddress, ...],
    forward: tuple[ListenAddress, ...],
    allow: tuple[IPNetwork, ...],
    **flags: Any,
) -> None:
    """Answer for the names of tasks, and pass other questions on."""
    setup(log_level, log_format, sys.stderr)
    try:
        suffixes_of(flags["domain"], flags["framework"])
    except ValueError as error:
        raise click.UsageError(f"--framework and --domain: {error}; shorten one") from error
    settings = DnsSettings(
        open_datastore=etcd.open,
        resolvers=resolver or None,
        forwards=forward,
        allow=allow or None,
        **flags,
    )
    sys.exit(run_dns(settings))
