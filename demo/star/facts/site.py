"""Serves facts and reasons, from one read of etcd at most every half a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import parse_qs

import click

from calico.datastore.api import Datastore
from calico.errors import DatastoreError
from demo.star.facts.queue import LaunchQueue
from demo.star.facts.telling import MOST_PORTS, MOST_TASKS, Selection, tell
from demo.star.serving import Asked, Content, Stream, json_content, text_content
from reconciler.cli.commands.why import ask_on_the_way, judge_why
from reconciler.cli.judging.parties import parse_parties
from reconciler.cli.printing.render import render
from reconciler.cli.reading.cluster import Cluster, read_cluster

READ_EVERY = 0.5
#: Each may ask agents for some seconds.
MOST_REASONS = 4
LONGEST_NAME = 512


@dataclass(frozen=True, slots=True)
class Read:
    """The cluster as it was at a moment."""

    cluster: Cluster
    waiting: Mapping[str, str]
    at: float
    read_at: str


class FactsSite:
    """Answers `/facts`, `/why` and `/healthz`; it only reads."""

    def __init__(self, datastore: Datastore, queue: LaunchQueue) -> None:
        self._datastore = datastore
        self._queue = queue
        self._reading = threading.Lock()
        self._room = threading.BoundedSemaphore(MOST_REASONS)
        self._read: Read | None = None

    def __call__(self, asked: Asked) -> Content | Stream:
        """The answer to one request."""
        if asked.method != "GET":
            return _problem("this only reads", HTTPStatus.METHOD_NOT_ALLOWED)
        query = parse_qs(asked.query)
        try:
            match asked.path:
                case "/facts":
                    read = self._newest()
                    facts = tell(read.cluster, read.waiting, _selection(query), read.read_at)
                    return json_content(facts)
                case "/why":
                    return self._why(query)
                case "/healthz":
                    return json_content({"ok": True, "read_at": self._newest().read_at})
                case _:
                    return _problem(f"there is no {asked.path}", HTTPStatus.NOT_FOUND)
        except DatastoreError as error:
            return _problem(str(error), HTTPStatus.SERVICE_UNAVAILABLE)
        except ValueError as error:
            return _problem(str(error), HTTPStatus.BAD_REQUEST)

    def _newest(self) -> Read:
        with self._reading:
            now = time.monotonic()
            if self._read is None or now - self._read.at >= READ_EVERY:
                read_at = datetime.now(UTC).isoformat(timespec="milliseconds")
                cluster = read_cluster(self._datastore)
                self._read = Read(
                    cluster=cluster, waiting=self._queue.waiting(now), at=now, read_at=read_at
                )
            return self._read

    def _why(self, query: dict[str, list[str]]) -> Content:
        source, destination = _one(query, "from"), _one(query, "to")
        cluster = self._newest().cluster
        if not self._room.acquire(blocking=False):
            return _problem("too many questions at once", HTTPStatus.SERVICE_UNAVAILABLE)
        try:
            kernels = ask_on_the_way(cluster, *parse_parties(cluster, source, destination))
            answer = judge_why(cluster, source=source, destination=destination, kernels=kernels)
        except click.ClickException as error:
            return text_content(f"{error.format_message()}\n", HTTPStatus.NOT_FOUND)
        finally:
            self._room.release()
        return text_content(render(answer, "table", width=None, colour=False))


def _selection(query: dict[str, list[str]]) -> Selection:
    apps, ports = query.get("app", []), query.get("port", [])
    if len(apps) > MOST_TASKS or len(ports) > MOST_PORTS:
        raise ValueError("too many apps or ports are asked about")
    numbers = [int(port) for port in ports if port.isascii() and port.isdigit()]
    if len(numbers) < len(ports) or not all(1 <= number <= 65535 for number in numbers):
        raise ValueError("a port is a number from 1 to 65535")
    return Selection(frozenset(apps), frozenset(numbers))


def _one(query: dict[str, list[str]], name: str) -> str:
    values = query.get(name, [])
    if len(values) != 1 or not 1 <= len(values[0]) <= LONGEST_NAME:
        raise ValueError(f"{name} is given once")
    return values[0]


def _problem(message: str, status: HTTPStatus) -> Content:
    return json_content({"message": message}, status)
