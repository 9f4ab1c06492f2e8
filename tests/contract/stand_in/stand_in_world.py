"""What the stand-in's tests look at it with: a raw event stream, real agents."""

import json
import socket
import sys
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from demo.marathon import HttpAgent
from demo.mesos.agent import Agent, Setup
from demo.mesos.containers.api import Rules
from demo.mesos.records import HostName, Json, TaskId, TaskRecord
from demo.mesos.server import AgentServer
from demo.mesos.store import Store

PATIENCE = 10.0


class RawStream:
    """The event stream as bytes, read from a plain socket."""

    def __init__(self, url: str, query: str = "", accept: str = "text/event-stream") -> None:
        host = urllib.parse.urlsplit(url).netloc
        address, _, port = host.rpartition(":")
        self.received = b""
        self._read = 0
        self._socket = socket.create_connection((address, int(port)), timeout=PATIENCE)
        request = f"GET /v2/events{query} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\n\r\n"
        self._socket.sendall(request.encode())

    def until(self, wanted: bytes) -> bytes:
        """Everything up to and including these bytes, from where the last call ended."""
        while (position := self.received.find(wanted, self._read)) < 0:
            chunk = self._socket.recv(65536)
            if not chunk:
                raise EOFError(f"the stream ended before {wanted!r}: {self.received!r}")
            self.received += chunk
        start, self._read = self._read, position + len(wanted)
        return self.received[start : self._read]

    def rest(self) -> bytes:
        """Everything until the server closes the connection."""
        while chunk := self._socket.recv(65536):
            self.received += chunk
        return self.received[self._read :]

    def event(self, name: str, **fields: object) -> Json:
        """The next event of that name with those fields."""
        while True:
            self.until(f"event: {name}\r\n".encode())
            line = self.until(b"\r\n\r\n")
            body: Json = json.loads(line.removeprefix(b"data: "))
            if all(body.get(key) == value for key, value in fields.items()):
                return body

    def names(self) -> list[str]:
        """The events that were received so far, in order."""
        lines = self.received.decode().split("\r\n")
        return [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def __enter__(self) -> "RawStream":
        self.until(b"\r\n\r\n")
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RealHost:
    """A Mesos agent in this process with real tasks, and what HTTP says of it."""

    def __init__(self, directory: Path, name: str = "host-1", kill_grace: float = 0.3) -> None:
        self.directory = directory
        setup = Setup(Rules(kill_grace=kill_grace))
        self.agent = Agent(HostName(name), "127.0.0.1", "", Store(directory), setup)
        self._server = AgentServer(("127.0.0.1", 0), self.agent)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.agent.endpoint = self.url.removeprefix("http://")
        self.client = HttpAgent(self.url)

    def start(self) -> None:
        """Adopt what is there and serve."""
        self.agent.start()
        self._server.begin()

    def stop(self) -> None:
        """End the agent; its tasks live on."""
        self._server.shutdown()
        self._server.server_close()
        self.agent.stop()

    def state_of(self, task_id: str, *wanted: str) -> TaskRecord:
        """The task's record, once it is in one of the wanted states."""
        after = -1
        while True:
            report = self.client.tasks(after, PATIENCE)
            assert report.revision > after, f"{task_id} never became {wanted}"
            after = report.revision
            for record in report.tasks:
                if record.task_id == task_id and record.state in wanted:
                    return record

    def end_everything(self) -> None:
        """End every task and wait until none is left."""
        for container in self.agent.containers():
            self.agent.kill(container.task_ids[0])
        report = self.agent.tasks(-1, 0)
        while self.agent.containers():
            report = self.agent.tasks(report.revision, PATIENCE)


@contextmanager
def real_host(directory: Path, name: str = "host-1", kill_grace: float = 0.3) -> Iterator[RealHost]:
    """An agent whose tasks end with it."""
    host = RealHost(directory, name, kill_grace)
    host.start()
    try:
        yield host
    finally:
        host.end_everything()
        host.stop()


def python_task(code: str) -> tuple[str, ...]:
    """A program that runs this Python code."""
    return (sys.executable, "-S", "-c", code)


def by_task(records: tuple[TaskRecord, ...]) -> Mapping[TaskId, TaskRecord]:
    """Records by their task."""
    return {record.task_id: record for record in records}
