"""`python -m demo.star.facts`: serve what etcd says, until the process is ended."""

from __future__ import annotations

import json
import signal
import socket

import click

from demo.star.facts.queue import LaunchQueue
from demo.star.facts.site import FactsSite
from demo.star.serving import SiteServer
from reconciler.cli.options import EtcdSettings, etcd_options
from reconciler.runtime.listener import ListenAddress, parse_listen

USUAL_PORT = 9004


class _Listen(click.ParamType[ListenAddress]):
    name = "HOST:PORT"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> ListenAddress:
        try:
            return parse_listen(str(value), USUAL_PORT)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.option("--listen", type=_Listen(), default=f"127.0.0.1:{USUAL_PORT}", show_default=True)
@click.option("--name", multiple=True, help="A host name by which this may be asked.")
@click.option("--marathon", default="", metavar="URL", help="Tell too which apps its queue holds.")
@etcd_options
def main(etcd: EtcdSettings, listen: ListenAddress, name: tuple[str, ...], marathon: str) -> None:
    """Serve /facts and /why, read only, from what etcd and the agents say."""
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    try:
        listener = socket.create_server((listen.host, listen.port), family=family, backlog=64)
    except OSError as error:
        raise click.ClickException(f"cannot listen on {listen}: {error}") from error
    site = FactsSite(etcd.open(), LaunchQueue(marathon))
    SiteServer(listener, site, frozenset(map(str.lower, name))).start()
    address = str(ListenAddress(listen.host, listener.getsockname()[1]))
    click.echo(json.dumps({"command": "facts", "listen": address}))
    signal.pause()


if __name__ == "__main__":
    main()
