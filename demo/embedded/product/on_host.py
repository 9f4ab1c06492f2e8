"""`python -m demo.embedded.product.on_host`: the tasks of one app, asked on the host they run on.

Run there, as an operator would who has logged in: it reads what the host's Mesos
agent has noted, so that it works while that agent is down.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click

from demo.embedded.processes import MESOS_DIRECTORY
from demo.marathon.launch.identity import safe_path
from demo.mesos.processes import process_handle
from demo.mesos.store import Store

STREAMS = ("stdout", "stderr")


@click.group()
def main() -> None:
    """Tasks of this host, by their app."""


@main.command()
@click.argument("app")
def log(app: str) -> None:
    """Print what the app's tasks wrote, those that have ended too."""
    for sandbox in _store().sandboxes_of(f"{safe_path(app)}."):
        for name in STREAMS:
            file = sandbox / name
            if file.is_file():
                sys.stdout.write(file.read_text(errors="replace"))


@main.command()
@click.argument("app")
@click.argument("number", type=int)
def kill(app: str, number: int) -> None:
    """Send a signal to every task of the app; exit code 1 if none runs."""
    found = False
    for container in _store().load():
        for member in container.members:
            if member.process is None or not member.task_id.startswith(f"{safe_path(app)}."):
                continue
            with process_handle(member.process.pid, member.process.started) as handle:
                if handle is not None:
                    signal.pidfd_send_signal(handle, number)
                    found = True
    if not found:
        raise click.ClickException(f"no task of {app} runs here")


def _store() -> Store:
    return Store(Path(MESOS_DIRECTORY))


if __name__ == "__main__":
    main()
