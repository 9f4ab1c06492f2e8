"""Which task's page is shown, and where it listens."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from demo.stories.rest import MarathonApi, MarathonRefusedError, RunningTask

#: How the app of a collector is called in each of the stories' groups.
COLLECTOR = "collect"
#: The port that it serves on a network of its own.
COLLECTOR_PORT = 9001


@dataclass(frozen=True, slots=True)
class Place:
    """One task and where it listens."""

    task_id: str
    host: str
    port: int


def collector_among(tasks: Iterable[RunningTask]) -> RunningTask | None:
    """The collector that started last among those that run."""
    running = [
        task
        for task in tasks
        if task.running and task.app_id.rpartition("/")[2] == COLLECTOR and task.started
    ]
    return max(running, key=lambda task: (task.started, task.task_id), default=None)


def place_of(task: RunningTask, resolve: Callable[[str], str | None]) -> Place | None:
    """On its host's network by its first port, else at an address of its own.

    A task that was attached after its start has one that Marathon does not
    know: its name leads there.
    """
    if task.ports:
        return Place(task.task_id, task.host, task.ports[0])
    address = next(iter(task.addresses), None) or resolve(name_of(task.app_id))
    return None if address is None else Place(task.task_id, address, COLLECTOR_PORT)


def name_of(app_id: str) -> str:
    """The name of an app's tasks: `/star/collect` becomes `collect.star.marathon.mesos`."""
    return ".".join((*reversed(app_id.strip("/").split("/")), "marathon", "mesos"))


def resolve(name: str) -> str | None:
    """An IPv4 address of a name, by the resolver of this machine."""
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return None
    return str(found[0][4][0])


def find_collector(marathon: MarathonApi) -> Place | None:
    """Where the collector's page is right now, as far as Marathon can tell."""
    try:
        task = collector_among(marathon.tasks())
    except MarathonRefusedError:
        return None
    return None if task is None else place_of(task, resolve)
