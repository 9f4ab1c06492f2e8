"""`python -m demo.mesos_agent`: the Mesos agent of one host."""

from __future__ import annotations

import ipaddress
import signal
import threading
from pathlib import Path

import click

from demo.mesos.agent import Agent
from demo.mesos.logs import log_to_stderr
from demo.mesos.records import HostName
from demo.mesos.server import AgentServer
from demo.mesos.store import Store


@click.command()
@click.option("--name", required=True, help="The host's name, as Marathon will report it.")
@click.option("--listen", required=True, help="IP:PORT; port 0 means any free one.")
@click.option("--state-dir", required=True, type=click.Path(path_type=Path))
@click.option("--master", "masters", multiple=True, help="An address that may start tasks.")
def main(name: str, listen: str, state_dir: Path, masters: tuple[str, ...]) -> None:
    """Own the tasks of one host, started by Marathon's stand-in."""
    log_to_stderr()
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    try:
        ipaddress.ip_address(host)
        number = int(port)
    except ValueError as error:
        raise click.UsageError(f"--listen {listen}: {error}") from error
    store = Store(state_dir)
    agent = Agent(HostName(name), host, listen, store)
    with AgentServer((host, number), agent, masters) as server:
        agent.endpoint = f"{host}:{server.server_address[1]}"
        agent.start()
        stopped = threading.Event()
        for stop_signal in (signal.SIGTERM, signal.SIGINT):
            signal.signal(stop_signal, lambda _number, _frame: stopped.set())
        server.begin()
        click.echo(f"agent {name} on {agent.endpoint}")
        stopped.wait()
        server.shutdown()
        agent.stop()


if __name__ == "__main__":
    main()
