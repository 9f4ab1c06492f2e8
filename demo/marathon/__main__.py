"""`python -m demo.marathon`: Marathon for the embedded cluster."""

from __future__ import annotations

import ipaddress
import signal
import socket
import threading
from pathlib import Path

import click

from demo.marathon.agents import HttpAgent
from demo.marathon.core.migration import MigrationError
from demo.marathon.definitions.commands import any_program, own_programs
from demo.marathon.era import parse_era
from demo.marathon.serving.server import open_listener
from demo.marathon.stand_in import HEARTBEAT_SECONDS, StandIn
from demo.mesos.logs import log_to_stderr


@click.command()
@click.option("--listen", "addresses", multiple=True, help="IP:PORT; port 0 means any free one.")
@click.option(
    "--listen-fd",
    "descriptors",
    multiple=True,
    type=int,
    help="A listening socket that was inherited.",
)
@click.option("--state", "state_file", required=True, type=click.Path(path_type=Path))
@click.option("--agent", "agents", multiple=True, required=True, help="NAME=URL of a host.")
@click.option("--era", default="1.4", show_default=True, help="The version to be, 0.14 to 1.9.")
@click.option("--leader", help="HOST:PORT to name as the leader; else the first listener.")
@click.option("--name", "names", multiple=True, help="A host name by which it may be called.")
@click.option("--default-network-name", help="The network of apps that name none, as Marathon's.")
@click.option("--heartbeat", default=HEARTBEAT_SECONDS, show_default=True, type=float)
@click.option(
    "--event-buffer",
    type=int,
    help="Events that wait for one slow client, then are dropped; else as its version has it.",
)
@click.option("--faults", is_flag=True, help="Let POST /stand-in/faults break things.")
@click.option("--allow-any-command", is_flag=True, help="Start any program, still without a shell.")
def main(
    addresses: tuple[str, ...],
    descriptors: tuple[int, ...],
    state_file: Path,
    agents: tuple[str, ...],
    era: str,
    leader: str | None,
    default_network_name: str | None,
    names: tuple[str, ...],
    heartbeat: float,
    event_buffer: int | None,
    faults: bool,
    allow_any_command: bool,
) -> None:
    """Serve Marathon's API and place tasks on the hosts' agents."""
    log_to_stderr()
    if not addresses and not descriptors:
        raise click.UsageError("give --listen, --listen-fd or both")
    try:
        listeners = [open_address(address) for address in addresses]
        listeners += [socket.socket(fileno=descriptor) for descriptor in descriptors]
        hosts = {}
        for agent in agents:
            name, _, url = agent.partition("=")
            hosts[name] = HttpAgent(url)
        version = parse_era(era)
    except (ValueError, OSError) as error:
        raise click.UsageError(str(error)) from error
    marathon = StandIn(
        hosts,
        listeners=listeners,
        state_file=state_file,
        era=version,
        heartbeat=heartbeat,
        rule=any_program if allow_any_command else own_programs,
        leader=leader,
        names=names,
        faults_allowed=faults,
        event_buffer=event_buffer,
        default_network=default_network_name,
    )
    stopped = threading.Event()
    for stop_signal in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop_signal, lambda _number, _frame: stopped.set())
    try:
        marathon.start()
    except MigrationError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"marathon {version.version} on {marathon.url}")
    try:
        stopped.wait()
    finally:
        marathon.stop()


def open_address(address: str) -> socket.socket:
    """A listener on IP:PORT; ValueError for anything that is no address."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    ipaddress.ip_address(host)
    return open_listener(host, int(port))


if __name__ == "__main__":
    main()
